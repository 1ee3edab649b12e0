"""Loss and score from what a backbone gives."""
