"""Why two traces differ: the public path of `comparing.reasons`."""

from .comparing.reasons import Cause, Reason

__all__ = ["Cause", "Reason"]
