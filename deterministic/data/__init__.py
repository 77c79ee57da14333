"""Loaders whose samples depend on nothing accidental."""
