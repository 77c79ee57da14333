"""The sample that is being made, and a generator of its own for it."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, Literal, overload

from ...errors import DeterministicError, cut, explain

if TYPE_CHECKING:
    import numpy as np
    import torch

_LIBRARIES = ("numpy", "torch", "python")


class _Current(threading.local):
    key: int | None = None
    made: dict[str, Any] | None = None


_current = _Current()


def under_way() -> tuple[int | None, dict[str, Any] | None]:
    """Return the sample that is being made, with its generators, for `go_on`."""
    return _current.key, _current.made


def go_on(sample: tuple[int | None, dict[str, Any] | None]) -> None:
    """Go on with a sample that others were made in the middle of."""
    _current.key, _current.made = sample


def begin(key: int | None) -> None:
    """Say that the sample (or batch) with this key is being made now; None: none is."""
    _current.key = key
    _current.made = None


@overload
def sample_rng(library: Literal["numpy"] = "numpy") -> np.random.Generator: ...


@overload
def sample_rng(library: Literal["torch"]) -> torch.Generator: ...


@overload
def sample_rng(library: Literal["python"]) -> random.Random: ...


def sample_rng(library: Literal["numpy", "torch", "python"] = "numpy") -> Any:
    """Return a generator for the sample that is being made, independent of what was drawn before it.

    For use in a dataset's `__getitem__`, in what it calls, and in `collate_fn` and `__getitems__` (there it is the
    batch's). Its draws depend on (seed, epoch, index, occurrence) alone, not on draws from global generators, so adding
    one augmentation does not change another's numbers. Asked for again in the same sample it is the same object and
    goes on where it was. Touches no global generator; thread-safe.

    Args:
        library: "numpy" for a `numpy.random.Generator` (Philox), "torch" for a `torch.Generator` on the CPU, "python"
            for a `random.Random`.

    Returns:
        The generator.

    Raises:
        DeterministicError: No sample is being made by a loader with keys on this thread.
        ValueError: `library` is none of the three.

    Example:
        >>> from deterministic import make_loader, sample_rng
        >>> class Noise:
        ...     def __len__(self): return 2
        ...     def __getitem__(self, index): return sample_rng("numpy").random()
        >>> first, again = (make_loader(Noise(), seed=0) for _ in range(2))
        >>> [batch.item() for batch in first] == [batch.item() for batch in again]
        True
    """
    if library not in _LIBRARIES:
        raise ValueError(
            explain(
                "sample_rng() knows no such library",
                (f"found: {cut(library)}", f"expected: {', '.join(map(repr, _LIBRARIES))}"),
                "Pass one of them.",
            )
        )
    key = _current.key
    if key is None:
        raise DeterministicError(
            explain(
                "no sample is being made, so it has no generator",
                ("found: a call outside of a loader with keys, or on another thread than the one that fetches",),
                'Call it while a loader of make_loader fetches (randomness="sample" or "batch"), on its own thread.',
            )
        )
    if _current.made is None:
        _current.made = {}
    if library not in _current.made:
        _current.made[library] = _make(library, key)
    return _current.made[library]


def _make(library: str, key: int) -> Any:
    import numpy as np
    import torch

    from .keys import mix

    if library == "numpy":
        return np.random.Generator(np.random.Philox(key=[mix(key + 1), mix(key + 2)]))
    if library == "torch":
        return torch.Generator("cpu").manual_seed(mix(key + 3) >> 32)
    return random.Random(mix(key + 4))
