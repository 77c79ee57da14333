"""The innards of `deterministic demo`."""
