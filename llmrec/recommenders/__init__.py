"""Every recommender: baselines and the language model."""
