"""What runs is written down as hashes."""
