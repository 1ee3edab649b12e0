"""Features: text, history and context as numbers, fitted on the training side alone."""
