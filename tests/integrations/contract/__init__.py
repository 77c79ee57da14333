"""Real packages under `make_loader` and `Checkpoint`: exact, refused, or said."""
