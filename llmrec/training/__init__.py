"""One trainer on transformers' Trainer: collation, seeding, checkpoints, resume."""
