"""Candidates, evaluation, statistics, cost, comparison."""
