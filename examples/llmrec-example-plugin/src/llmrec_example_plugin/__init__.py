"""An example of a package that extends llmrec: a backbone and a baseline."""
