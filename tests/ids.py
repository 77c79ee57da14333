"""Names for parameters that are the same in every process: the workers of pytest-xdist compare what they collected."""

from __future__ import annotations

import re
from typing import Any


def without_address(value: Any) -> str:
    """Return the text of a value, without where it lies in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
