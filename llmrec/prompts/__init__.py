"""How a query becomes the input of a model."""
