"""Conformance suites for components, and a small data set whose answer is known."""
