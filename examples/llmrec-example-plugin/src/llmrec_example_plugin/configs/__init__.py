"""YAML files for ``hydra.searchpath``."""
