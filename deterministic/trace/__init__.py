"""Fingerprints and traces: what a run computed, as hashes, in a file that can be compared with another."""
