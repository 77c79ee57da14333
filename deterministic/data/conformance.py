"""What a loader asks of somebody else's sampler, stream or dataset, as checks that run on any of them."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from torch.utils.data import Dataset

from ..errors import DeterministicError, NondeterminismWarning, NotReproducibleError, ReplayWarning, cut, value_error
from ..scope.reproducible import reproducible
from ..values.difference import difference
from .loader import make_loader

_EpochBatches: TypeAlias = list[list[Any]]

_SAID = (NondeterminismWarning, ReplayWarning)

_WORKERS: dict[str, dict[str, Any]] = {
    "without workers": {"num_workers": 0},
    "with a worker": {"num_workers": 1},
    "with a persistent worker": {"num_workers": 1, "persistent_workers": True},
}


def check_sampler(make: Callable[[], Any], *, is_batched: bool = False, **loader_arguments: Any) -> list[str]:
    """Check that a loader over a sampler goes on with the same indices wherever it is interrupted.

    Iterates three epochs without a stop. Then, with new samplers, stops and goes on with a new loader from the state of
    the last: before the first batch, within epochs 0 and 1, after a last batch, between epochs, twice; and looks ahead
    with `peek()`. All of it without workers, with one, and with one that persists.

    Args:
        make: Returns a new sampler, whose epochs have 3 batches or more, and an end. Called in a scope with a seed.
        is_batched: Whether it is a batch sampler.
        loader_arguments: Of `make_loader`, instead of seed=0 and batch_size=2; num_workers= leaves out the other kinds.

    Returns:
        The cases that are refused with a `DeterministicError`, or warned of and not exact, and the first line of what
        is said. Every other case is exact.

    Raises:
        NotReproducibleError: The order after a stop is another one, and nothing was said; it names the first such case.
        ValueError: An epoch has fewer than 3 batches.

    Example:
        >>> from torch.utils.data import SequentialSampler
        >>> from deterministic.testing import check_sampler
        >>> check_sampler(lambda: SequentialSampler(range(6)), num_workers=0)
        []
    """

    def order(sampler: Any) -> dict[str, Any]:
        return {"batch_sampler": sampler} if is_batched else {"sampler": sampler, "batch_size": 2}

    remedy = "draw from generators that it holds, or from global ones"
    return _interrupted(lambda: {"dataset": _Echo(), **order(make())}, loader_arguments, remedy)


def check_stream(make: Callable[[], Any], **loader_arguments: Any) -> list[str]:
    """Check that a loader over an IterableDataset goes on with the same samples wherever it is interrupted.

    `make` returns a new dataset. The stops, the arguments, what is returned and raised are those of `check_sampler`.

    Example:
        >>> from torch.utils.data import IterableDataset
        >>> from deterministic.testing import check_stream
        >>> class Numbers(IterableDataset):
        ...     def __iter__(self):
        ...         return iter(range(6))
        >>> check_stream(Numbers, num_workers=0)
        []
    """
    remedy = "leave both out, and let what was seen be loaded again"
    return _interrupted(lambda: {"dataset": make(), "batch_size": 2}, loader_arguments, remedy)


def check_dataset(make: Callable[[], Any]) -> None:
    """Check that each sample of a map-style dataset is a function of the seed, the epoch and the index.

    Makes all samples in two epochs; then, with new datasets, in the reverse order, after another epoch, in a worker, in
    one that persists, and alone with `replay()`.

    Args:
        make: Returns a new dataset, always in the same way; a small one.

    Raises:
        NotReproducibleError: A sample differs; it names the first such case.

    Example:
        >>> from deterministic.testing import check_dataset
        >>> check_dataset(lambda: ["a", "b"])
    """

    def epochs(skipped: int = 0, **arguments: Any) -> _EpochBatches:
        loader = make_loader(make(), seed=0, collate_fn=list, **arguments)
        for _ in range(skipped):
            list(loader)
        loader.set_epoch(0)
        return [[sample for batch in loader for sample in batch] for _ in range(2)]

    def backwards() -> _EpochBatches:
        return [samples[::-1] for samples in epochs(sampler=range(len(reference[0]))[::-1])]

    def alone() -> _EpochBatches:
        loader = make_loader(make(), seed=0)
        return [[loader.replay(epoch, index) for index in range(len(reference[0]))] for epoch in range(2)]

    reference = epochs()
    cases = {"in the reverse order": backwards, "alone, by replay()": alone}
    cases |= {"after another epoch": partial(epochs, 1), **{kind: partial(epochs, **w) for kind, w in _WORKERS.items()}}
    for case, run in cases.items():
        _compare(f"made {case}", reference, run, "Draw from global generators or sample_rng() while a sample is made.")


class _Echo(Dataset[Any]):
    """A dataset whose samples are what it is asked for."""

    def __getitem__(self, index: Any) -> Any:
        return index


def _resume(loader: Any, make: Callable[[], Any]) -> Any:
    state, resumed = loader.state_dict(), make()
    try:
        carried = json.loads(json.dumps(state))
    except (TypeError, ValueError):
        carried = None
    resumed.load_state_dict(carried if carried == state else pickle.loads(pickle.dumps(state)))
    return resumed


def _peek(loader: Any, make: Callable[[], Any]) -> Any:
    loader.peek()
    return loader


_CASES: dict[str, tuple[tuple[int, int, Callable[[Any, Callable[[], Any]], Any]], ...]] = {
    "iterated once more": (),
    "resumed before the first batch": ((0, 0, _resume),),
    "resumed within epoch 0": ((0, 1, _resume),),
    "resumed within epoch 1": ((1, 2, _resume),),
    "resumed after the last batch of epoch 0": ((0, -1, _resume),),
    "resumed between epochs 0 and 1": ((1, 0, _resume),),
    "resumed between epochs 1 and 2": ((2, 0, _resume),),
    "resumed twice within epoch 0": ((0, 1, _resume), (0, 2, _resume)),
    "resumed within epochs 0 and 1": ((0, 2, _resume), (1, 1, _resume)),
    "resumed twice between epochs 0 and 1": ((1, 0, _resume), (1, 0, _resume)),
    "peeked at before each epoch": ((0, 0, _peek), (1, 0, _peek), (2, 0, _peek)),
    "peeked at and resumed between epochs 0 and 1": ((1, 0, _peek), (1, 0, _resume)),
}
"""The epoch, how many of its batches were seen (-1: all, and not that there are no more), and what is done there."""


def _interrupted(own: Callable[[], dict[str, Any]], arguments: dict[str, Any], remedy: str) -> list[str]:
    def loader(**workers: Any) -> Any:
        with reproducible(seed=0, deterministic=False):
            made = own()
        return make_loader(**{"seed": 0, "collate_fn": list, **made, **workers, **arguments})

    lines = []
    for kind, workers in ({"": {}} if "num_workers" in arguments else _WORKERS).items():
        make = partial(loader, **workers)
        reference = _epochs(make, [])
        lengths = [len(batches) for batches in reference]
        if min(lengths) < 3:
            problem = "an epoch is too short to be interrupted twice"
            values = (f"found: {lengths} batches", "expected: 3 or more in each")
            raise value_error(problem, values, "Let make() return what gives more, or pass batch_size=1.")
        for case, stops in _CASES.items():
            places = [(epoch, count % (lengths[epoch] + 1), move) for epoch, count, move in stops]
            remedies = f"Let state_dict() and load_state_dict() say what its order depends on, or {remedy}."
            lines += _compare(f"{case} {kind}".strip(), reference, partial(_epochs, make, places), remedies)
    return lines


def _epochs(make: Callable[[], Any], stops: list[tuple[int, int, Any]]) -> _EpochBatches:
    """Iterate three epochs; at each stop go on with the loader that is made there."""
    loader, epochs = make(), []
    for epoch in range(3):
        seen: list[Any] = []
        for count, move in ((count, move) for at, count, move in stops if at == epoch):
            seen += islice(loader, count - len(seen)) if count else ()  # asking for none would begin the epoch
            loader = move(loader, make)
        epochs.append([*seen, *loader])
    return epochs


def _compare(case: str, expected: _EpochBatches, run: Callable[[], _EpochBatches], remedy: str) -> list[str]:
    """Return what is said of a run if it is refused, or not as expected with a warning; nothing if it is exact."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            actual = run()
        except DeterministicError as error:
            return [f"{case}: {str(error).splitlines()[0]}"]
    if (differs := difference(expected, actual, "epochs")) is None:
        return []
    if said := [str(one.message).splitlines()[0] for one in warned if issubclass(one.category, _SAID)]:
        return [f"{case}: {said[0]}"]
    number = next(n for n, pair in enumerate(zip(expected, actual, strict=True)) if difference(*pair, "epoch"))
    values = (f"expected: {cut(expected[number])}", f"found: {cut(actual[number])}", "{}: {} and {}".format(*differs))
    raise NotReproducibleError(
        f"{case}: epoch {number} is another one", tuple(" ".join(one.split()) for one in values), remedy
    )
