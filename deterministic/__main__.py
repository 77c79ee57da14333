"""`python -m deterministic` is the command `deterministic`."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", sys.flags.isolated):
    # A file of the working directory, random.py, is not to be imported in place of Python's: see leave_launcher_out.
    sys.path[0] = __file__

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
