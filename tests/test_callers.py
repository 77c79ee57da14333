"""Whose code asks for entropy is told by the file that it is in."""

from __future__ import annotations

import random
import tempfile

import numpy as np
import torch

from deterministic import errors
from deterministic.ground.callers import _HARMLESS_MODULES, whose


def test_a_file_is_pythons_a_packages_this_librarys_or_the_users() -> None:
    expected = {
        tempfile.__file__: "Python's",
        random.__file__: "Python's",
        np.__file__: "installed",
        errors.__file__: "ours",
    }
    expected |= {torch.__file__: "installed", __file__: "user's", "<stdin>": "user's", "<string>": "user's"}
    expected |= {"<ipython-input-3-abc>": "user's", "<frozen os>": "nobody's", "<eval_with_key>.1": "nobody's"}
    expected |= {"/elsewhere/lib/python3/dist-packages/a.py": "installed", "train.py": "user's"}
    assert {name: whose(name) for name in expected} == expected


def test_what_people_write_is_never_harmless_by_its_module() -> None:
    assert not _HARMLESS_MODULES & {"__main__", "numpy", "random", "scipy", "secrets", "uuid"}
