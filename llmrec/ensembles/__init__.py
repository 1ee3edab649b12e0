"""One ensemble recommender and its combiners."""
