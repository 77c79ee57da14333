"""How one sample is made: its key, its generators, its fetch."""
