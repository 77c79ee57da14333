"""Whose code asks Python or NumPy for entropy: the user's, a package's, or somebody's where no number comes of it."""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from types import FrameType
from typing import NamedTuple

from ..errors import OURS, place

_HARMLESS = {
    "names of files": "tempfile filelock fsspec joblib",
    "keys and names of connections and locks": "multiprocessing multiprocess asyncio ssl",
    "boundaries in messages, and answers to a server's challenge": "email http requests urllib urllib3 xmlrpc",
    "nothing: what is copied is given its state afterwards": "copy",
    "ids of runs and sessions": "mlflow opentelemetry optuna sklearn transformers wandb",
    "ids of parts of a picture, and of what a notebook shows": "matplotlib IPython comm ipykernel jupyter_client",
    "names of files and of compiled graphs; its datapipes seed a random.Random() before they draw": "torch",
}
"""What may be asked of Python unseen, and by whom; what a package asks NumPy for is never a name."""

_HARMLESS_MODULES = frozenset(" ".join(_HARMLESS.values()).split())
_HARMLESS_FUNCTIONS = {
    ("numpy.random._pickle", ""),
    ("optuna.samplers._lazy_random_state", "__init__"),
    ("scipy.stats._distribution_infrastructure", "_generate_example"),  # for a docstring, when it is imported
    ("sklearn.ensemble._hist_gradient_boosting.grower", ""),  # by default, where it is always passed one
}
"""Modules, and their functions, none for all, that make a generator without a seed, and give it one, or have no use."""

_PASSED = ("numpy", "random", "secrets", "uuid")  # modules through which others ask
_WRAPPERS = ("decorated", "func", "inner", "wrapped", "wrapper")
"""What decorators call the function that they make, which says nothing to the reader; nor does a private name."""


class Origin(NamedTuple):
    """Who asks: the innermost function that is not Python's or NumPy's, the user's that led to it, and what between."""

    caller: FrameType
    user: FrameType
    by: str
    through: str

    @property
    def place(self) -> str:
        """The user's line, "train.py:12"."""
        return place(self.user.f_code.co_filename, self.user.f_lineno)


def origin_of(frame: FrameType | None, *, may_name: bool = False) -> Origin | None:
    """Return who asks, from this frame outwards; None: it is harmless, this library, or a hook that has told of it."""
    caller, by, through = None, "", ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        top, owner, function = module.partition(".")[0], whose(frame.f_code.co_filename), frame.f_code.co_name
        if owner == "user's":
            return Origin(caller or frame, frame, by, through)
        if caller is None:
            is_pythons_or_names = owner == "Python's" or (owner == "installed" and may_name)
            if owner == "ours" or (is_pythons_or_names and top in _HARMLESS_MODULES):
                return None
            if owner == "Python's" and top in ("secrets", "uuid"):
                through = f"{module}.{function}()"
        if {(module, ""), (module, function)} & _HARMLESS_FUNCTIONS:
            return None
        # A package that is imported makes keys, and generators that one of a program's first lines would have made.
        if may_name and owner == "installed" and function == "<module>" and module != "__main__":
            return None
        if owner == "installed" and top not in _PASSED:
            caller = caller or frame
            is_inner = function in _WRAPPERS or function.startswith("_") > function.startswith("__")
            by = by if by and is_inner else f"{module}.{function}"
        frame = frame.f_back
    return None if caller is None else Origin(caller, caller, by, through)


_INSTALLED = tuple(os.path.normcase(sysconfig.get_path(name) + os.sep) for name in ("purelib", "platlib"))
_PYTHONS = tuple(
    os.path.normcase(path + os.sep) for path in (sysconfig.get_path("stdlib"), os.path.dirname(os.__file__))
)


@cache
def whose(filename: str) -> str:
    """Return whose code a file has: "ours", "user's", "installed", "Python's", or "nobody's" where it was generated."""
    if filename.startswith(OURS):
        return "ours"
    if filename.startswith("<"):
        return "user's" if filename.startswith(("<ipython-input", "<stdin>", "<string>")) else "nobody's"
    filename = os.path.normcase(filename)
    if filename.startswith(_INSTALLED) or {"site-packages", "dist-packages"} & {*filename.split(os.sep)}:
        return "installed"
    return "Python's" if filename.startswith(_PYTHONS) else "user's"
