"""Which arguments of `make_loader` contradict each other, or cannot be reproducible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import cut, explain
from ..ground.config import Omitted, validate_num_threads
from ..ground.seeds import as_integer


def require_compatible(
    dataset: object,
    batch_size: int | None | Omitted,
    shuffle: bool | None,
    global_batch_size: int | None,
    shard: bool,
    randomness: str,
    arguments: dict[str, Any],
) -> None:
    """Refuse what contradicts itself or cannot be reproducible, before anything is made."""
    if arguments.get("in_order", True) is not True and randomness != "worker":
        raise ValueError(
            explain(
                "in_order=False lets the fastest worker decide the order of the batches",
                ("found: in_order=False", "expected: in_order=True"),
                "Leave it out.",
            )
        )
    samplers = [name for name in ("sampler", "batch_sampler") if arguments.get(name) is not None]
    if samplers and shuffle:
        raise ValueError(
            explain(
                f"shuffle and {samplers[0]} are two orders for one loader",
                (f"shuffle: {cut(shuffle)}", f"{samplers[0]}: a {type(arguments[samplers[0]]).__name__}"),
                "Leave one of them out.",
            )
        )
    if not isinstance(shard, bool):
        raise TypeError(
            explain("shard is not a bool", (f"found: {cut(shard)}", "expected: True or False"), "Pass shard=False.")
        )
    if global_batch_size is not None:
        _require_global(dataset, batch_size, global_batch_size, samplers, randomness)
    if randomness != "worker":
        _require_readable(dataset, samplers)


def require_defaults(**given: tuple[object, object]) -> None:
    """Refuse what the standard recipe does not have."""
    for name, (value, default) in given.items():
        if value != default:
            raise TypeError(
                explain(
                    f'randomness="worker" is a plain DataLoader, which has no {name}',
                    (f"{name}: {cut(value)}",),
                    'Leave it out, or use randomness="sample".',
                )
            )


def _require_global(
    dataset: object, batch_size: object, global_batch_size: object, samplers: list[str], randomness: str
) -> None:
    from torch.utils.data import IterableDataset

    count = as_integer(global_batch_size)
    if count is None or count < 1:
        raise ValueError(
            explain(
                "global_batch_size is not a positive integer",
                (f"found: {cut(global_batch_size)}", "expected: an int, 1 or more"),
                "Pass the number of samples in a batch of all ranks together.",
            )
        )
    other = next(
        (
            text
            for text, holds in (
                (f"batch_size: {cut(batch_size)}", not isinstance(batch_size, Omitted)),
                (", ".join(samplers), bool(samplers)),
                ('randomness: "worker"', randomness == "worker"),
                ("dataset: an IterableDataset", isinstance(dataset, IterableDataset)),
            )
            if holds
        ),
        None,
    )
    if other is not None:
        raise TypeError(
            explain(
                "global_batch_size= cuts the loader's own order, and goes with nothing else that cuts batches",
                (f"global_batch_size: {cut(global_batch_size)}", other),
                "Leave one of them out.",
            )
        )


def _require_readable(dataset: object, samplers: list[str]) -> None:
    from torch.utils.data import IterableDataset, IterDataPipe, MapDataPipe

    if isinstance(dataset, (IterDataPipe, MapDataPipe)):
        raise TypeError(
            explain(
                "a DataPipe shuffles and shares itself out through hooks that a loader with keys does not have",
                (f"found: {type(dataset).__name__}", "expected: a Dataset or an IterableDataset"),
                'Pass randomness="worker", or make it a Dataset.',
            )
        )
    if not samplers and not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__len__"):
        raise TypeError(
            explain(
                "the dataset has no length, so it can have no order",
                (f"found: {type(dataset).__name__} without __len__()",),
                "Give it a __len__(), or pass a sampler.",
            )
        )


def require_threads(worker_threads: object) -> int:
    """Return the number of threads to fetch with.

    Raises:
        TypeError: Not an integer.
        ValueError: Below 1.
    """
    count = validate_num_threads(worker_threads, name="worker_threads")
    if count is None:
        raise TypeError(
            explain(
                "worker_threads is not an integer",
                ("found: None", "expected: an int, 1 or more"),
                "Pass the number of threads, for example worker_threads=1.",
            )
        )
    return count


def require_choice(name: str, value: object, choices: Mapping[str, str]) -> None:
    """Refuse what is none of an argument's choices; each has a sentence of what it means.

    Raises:
        ValueError: No such choice.
    """
    if not isinstance(value, str) or value not in choices:
        listed = (f"found: {cut(value)}", *(f"{choice!r}: {text}" for choice, text in choices.items()))
        raise ValueError(explain(f"{name}= names none of its choices", listed, "Pass one of them."))


def require_stream_state(stream_state: object, dataset: object) -> None:
    """Refuse a stream that cannot say where it is if that is asked for.

    Raises:
        TypeError: The stream cannot say where it is.
    """
    if stream_state == "refuse":
        from torch.utils.data import IterableDataset

        from ..values.stateful import is_stateful

        if isinstance(dataset, IterableDataset) and not is_stateful(dataset):
            raise TypeError(
                explain(
                    "this stream cannot say where it is",
                    (f"found: {type(dataset).__name__} without state_dict() and load_state_dict(state)",),
                    'Give it both, or pass stream_state="use" to load again what was seen.',
                )
            )
