"""A trace as JSON lines: the public path of `file.export`."""

from .file.export import export

__all__ = ["export"]
