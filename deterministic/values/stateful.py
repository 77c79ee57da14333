"""What says where it is and can be put there: torchdata's Stateful protocol, and whether a method takes something."""

from __future__ import annotations

import inspect
from typing import Any


def is_stateful(value: Any) -> bool:
    """Return whether it has `state_dict()` and `load_state_dict(state)`.

    One whose methods want other arguments (litdata's and mosaicml-streaming's do) does not speak the protocol.
    """
    return takes(value, "state_dict") and takes(value, "load_state_dict", None)


def takes(value: Any, name: str, *arguments: Any) -> bool:
    """Return whether it has a method that can be called with these arguments."""
    method = getattr(value, name, None)
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a built-in one that has no signature
        return True
    return True
