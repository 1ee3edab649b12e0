"""Pure functions from ranks or predictions to values per user."""
