"""What a value is made of, and when two are the same."""
