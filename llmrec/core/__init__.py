"""Contracts, registry, errors and config validation; standard library and numpy only."""
