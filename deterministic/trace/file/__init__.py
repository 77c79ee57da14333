"""What was recorded, in files."""
