"""How weights are loaded and which of them train."""
