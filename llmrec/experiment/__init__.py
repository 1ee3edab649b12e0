"""The run: config schema, artefacts, tracking."""
