"""`make_loader`: a DataLoader whose samples depend on nothing accidental."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, IterDataPipe, MapDataPipe

from ..errors import SeedError, cut, type_error, value_error
from ..ground.arguments import boolean, choice, count
from ..ground.config import OMITTED, Omitted
from ..ground.launch import given_seed
from ..ground.seeds import torch_seed, validate_seed
from ..ground.synonyms import refuse_unknown
from ..scope import stack
from ..values.stateful import is_stateful
from .interface import Indexed, MakesLoaders
from .keyed_loader import ReproducibleDataLoader
from .samples.keys import HeldChoice, Keying, StreamState, draw_seed
from .samples.seeded import survey
from .samples.worker import SeedWorkerThen, seed_worker
from .taken_over import ARGUMENTS, require_one_dataset, settings_of

T = TypeVar("T")


_SCHEMES = {
    "sample": "a sample's random numbers depend on (seed, epoch, index) only, not on workers, ranks and batches",
    "batch": "the same for each batch: cheaper, but independent only of the workers",
    "worker": "the standard recipe, a plain DataLoader, for results that were published with it",
}

_HELD = {
    "key": "generators that the dataset or collate_fn holds are put where each sample's key says",
    "leave": "they are left as they are: what they draw depends on the workers, and on what they drew before",
    "refuse": "a dataset or a collate_fn that holds any is refused",
}

_STREAM_STATES = {
    "use": "a stream is resumed by its own state_dict(), if it has one, else by loading again what was seen",
    "ignore": "a stream is resumed by loading again what was seen",
    "refuse": "a stream without a state_dict() is refused",
}


def _like(loader: DataLoader[T], **overrides: Any) -> DataLoader[T]:
    """Make a loader as `make_loader` does, with all settings of a plain DataLoader.

    Taken over are its dataset, order, batches and workers. Torch's own two orders become `shuffle=`; a sampler of any
    other kind is asked for its indices, as ever. Without `seed` a generator of the loader's draws it. What a subclass
    adds is not taken over.

    Args:
        loader: A `torch.utils.data.DataLoader`.
        overrides: Arguments of `make_loader` that win over the loader's; `num_workers=0` also drops what is for workers
            alone.

    Returns:
        What `make_loader` returns.

    Raises:
        TypeError, ValueError, SeedError: As `make_loader`, which has no `in_order=False`, for one; or it is no plain
            DataLoader.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from deterministic import make_loader
        >>> loader = make_loader.like(DataLoader(range(4), batch_size=2, shuffle=True), seed=0)
        >>> len(list(loader))
        2
    """
    return cast("DataLoader[T]", make_loader(**settings_of(loader, overrides)))


def _with_like(function: Callable[..., Any]) -> MakesLoaders:
    """Decorate `make_loader`: look at what it is given, and put `like` on it."""
    known = {**inspect.signature(function).parameters, **ARGUMENTS}
    del known["dataloader_arguments"]

    @functools.wraps(function)
    def make_loader(*args: Any, **arguments: Any) -> Any:
        require_one_dataset(*args[:4], **arguments)
        refuse_unknown("make_loader", arguments, known, "`with reproducible({}):` around it")
        return function(*args, **arguments)

    make_loader.like = _like  # type: ignore[attr-defined]
    return cast(MakesLoaders, make_loader)


@_with_like
def make_loader(
    dataset: Dataset[T] | Indexed[T],
    batch_size: int | None | Omitted = OMITTED,
    shuffle: bool | Literal["blocks"] | None = None,
    sampler: Any = None,
    *,
    seed: int | Omitted = OMITTED,
    randomness: Literal["sample", "batch", "worker"] = "sample",
    shard: bool = True,
    global_batch_size: int | None = None,
    block_size: int | None = None,
    worker_threads: int = 1,
    stream_state: StreamState = "use",
    held: HeldChoice = "key",
    generator: torch.Generator | None = None,
    **dataloader_arguments: Any,
) -> DataLoader[T]:
    """Make a DataLoader whose samples are the same for any workers, ranks and interruptions.

    Whatever the dataset draws from `random`, `numpy.random`, torch (CPU) or generators that it holds, while it makes a
    sample, is a function of (seed, epoch, index, occurrence). So the bits of a batch do not depend on num_workers,
    prefetch_factor, the start method, persistent_workers or the state of the global generators, and iterating leaves
    those alone. The dataset stays as it is. `collate_fn` and a dataset's `__getitems__` make a whole batch, so their
    draws are keyed per batch: independent of the workers, not of which samples are in the batch.

    Without a sampler of the user's, the order is a function of (seed, epoch), and the ranks of a distributed run
    (torch.distributed, else the variables RANK and WORLD_SIZE, looked up at every iteration) share each global batch.

    Args:
        dataset: Any dataset that DataLoader takes, or what has `__getitem__` and `__len__`. Of an IterableDataset the
            draws also depend on num_workers and the ranks; sharing the data out is its own business, as always.
        batch_size: Samples per batch on each rank, 1 if omitted; None switches batching off.
        shuffle: Whether to draw a new order every epoch. "blocks", for data that lies in shards: of blocks of
            `block_size` neighbours, and of the samples within each; a batch may go over from one block into the next.
        sampler: DataLoader's: what says the order of the indices instead.
        seed: 0 <= seed < 2**64. Omitted: the scope's (with per_rank, the one that all ranks have in common), else that
            of `seed_everything`, else that of `deterministic run`. In a scope without a seed it is drawn from torch's
            global generator at the first iteration.
        randomness: "sample"; "batch", which is cheaper and keys every draw per batch; "worker", the standard recipe,
            which returns a plain DataLoader with the draws of published results.
        shard: Whether ranks share the data. With False each sees all of it.
        global_batch_size: Samples per batch on all ranks together, instead of batch_size; then any number of ranks
            that divides it sees the same global batches.
        block_size: Samples in a block of shuffle="blocks", 1 or more; the last block may be a shorter one.
        worker_threads: How many threads torch uses for one CPU operation while fetching, in workers and without
            them, 1 or more: on CPU the number decides the order of many sums.
        stream_state: What an IterableDataset's own `state_dict()` and `load_state_dict()` are good for: "use" them to
            resume, where it has them, and else load again what was seen; "ignore" them, and load again, which is exact
            for one whose state leaves something out; "refuse" a stream that has none, now.
        held: What is done with generators that the dataset or `collate_fn` holds (`numpy.random.Generator`,
            `RandomState`, `torch.Generator` on the CPU, `random.Random`), in attributes, containers, closures, classes:
            "key" them, each by the sample's key and the path to it; "leave" them; "refuse" them. Those of a stream
            with a `state_dict()` of its own are left: they are part of that state (unless stream_state="ignore" and
            it has no `set_epoch()`).
        generator: The seed is drawn from it, now, instead of `seed`. With randomness="worker" it is the DataLoader's.
        dataloader_arguments: Every other argument of `torch.utils.data.DataLoader`. A `worker_init_fn` runs as ever;
            what it seeds does not reach the samples.

    Returns:
        A `torch.utils.data.DataLoader`, which unless randomness is "worker" also has `state_dict`, `load_state_dict`,
        `set_epoch`, `peek`, `replay` and `check`.

    Raises:
        SeedError: The seed is no seed, or there is neither a seed nor a scope.
        TypeError: An argument is of the wrong type, or two exclude each other.
        ValueError: An argument is out of range, or names nothing; what DataLoader itself refuses.
        DeterministicError: The dataset or `collate_fn` holds a generator, and held="refuse".

    Example:
        >>> from deterministic import make_loader
        >>> first = [batch.tolist() for batch in make_loader(range(4), batch_size=2, shuffle=True, seed=0)]
        >>> first == [batch.tolist() for batch in make_loader(range(4), batch_size=2, shuffle=True, seed=0)]
        True
    """
    choice("randomness", randomness, _SCHEMES)
    choice("stream_state", stream_state, _STREAM_STATES)
    choice("held", held, _HELD)
    if generator is not None and not hasattr(generator, "initial_seed"):
        raise type_error(
            "generator is not a torch.Generator",
            (f"found: {generator!r} ({type(generator).__name__})", "expected: a torch.Generator"),
            "Pass torch.Generator().manual_seed(...), or seed=.",
        )
    if generator is not None and not isinstance(seed, Omitted):
        raise type_error(
            "a loader takes a seed or a generator, not both",
            (f"seed: {seed!r}", f"generator: seeded with {generator.initial_seed()}"),
            "Leave one of them out.",
        )
    if sampler is not None:
        dataloader_arguments["sampler"] = sampler
    effective = _effective_seed(seed) if generator is None else None
    samplers = _require_one_order(shuffle, dataloader_arguments, randomness)
    boolean("shard", shard)
    if not isinstance(shuffle, (bool, np.bool_, type(None))) or block_size is not None:
        block_size = _require_blocks(dataset, shuffle, block_size, samplers, randomness)
    if global_batch_size is not None:
        global_batch_size = count("global_batch_size", global_batch_size, least=1, what="is not a positive integer")
        _require_own_order("global_batch_size", global_batch_size, batch_size, dataset, samplers, randomness)
    size = global_batch_size or (1 if isinstance(batch_size, Omitted) else batch_size)
    if randomness == "worker":
        _require_defaults(
            shard=(shard, True),
            worker_threads=(worker_threads, 1),
            stream_state=(stream_state, "use"),
            held=(held, "key"),
        )
        return _recipe(dataset, size, shuffle, effective, generator, dataloader_arguments)
    _require_readable(dataset, samplers)
    if stream_state == "refuse":
        _require_place(dataset)
    has_own_order = stream_state != "ignore" or hasattr(dataset, "set_epoch")
    if held == "key" and has_own_order and isinstance(dataset, IterableDataset) and is_stateful(dataset):
        held = "leave"  # they are part of the state that it says itself, or of the order of its epoch
    labels, rows = survey(dataset, dataloader_arguments.get("collate_fn"), held, randomness)
    keying = Keying(
        effective if generator is None else draw_seed(generator),
        randomness=randomness,
        shard=shard,
        is_global=global_batch_size is not None,
        worker_threads=count("worker_threads", worker_threads, least=1),
        stream_state=stream_state,
        held=held,
        labels=labels,
        rows=rows,
    )
    if generator is not None:
        dataloader_arguments["generator"] = generator
    if block_size is not None:
        dataloader_arguments["block_size"] = block_size
    # By name: Lightning, which makes the loader again to predict, adds its own arguments to those given here.
    return ReproducibleDataLoader(dataset, batch_size=size, shuffle=shuffle, keying=keying, **dataloader_arguments)


def _recipe(
    dataset: Any,
    batch_size: int | None,
    shuffle: Any,
    seed: int | None,
    generator: torch.Generator | None,
    dataloader_arguments: dict[str, Any],
) -> DataLoader[T]:
    """Make the standard recipe: a generator of the loader's own, and `seed_worker`."""
    if seed is not None:
        generator = torch.Generator().manual_seed(torch_seed(seed))
    if generator is not None:
        users = dataloader_arguments.pop("worker_init_fn", None)
        dataloader_arguments["worker_init_fn"] = seed_worker if users is None else SeedWorkerThen(users)
    return DataLoader(dataset, batch_size, shuffle, generator=generator, **dataloader_arguments)


def _effective_seed(seed: int | Omitted) -> int | None:
    """Return the seed to use; None in a scope that has none."""
    if not isinstance(seed, Omitted):
        return validate_seed(seed)
    entry = stack.innermost()
    if entry is not None:
        return entry.config.common_seed
    given = given_seed()
    if given is None and not stack.disabled:
        raise SeedError(
            "a loader needs a seed",
            ("found: no seed=, and no scope is open",),
            "Pass seed=, make it inside `with reproducible(seed=...)`, or call seed_everything(seed) before.",
        )
    return given


def _require_one_order(shuffle: object, arguments: Mapping[str, Any], randomness: str) -> list[str]:
    """Return the names of the samplers; refuse two orders, and one that is accidental."""
    if arguments.get("in_order", True) is not True and randomness != "worker":
        raise value_error(
            "in_order=False lets the fastest worker decide the order of the batches",
            ("found: in_order=False", "expected: in_order=True"),
            "Pass in_order=True.",
        )
    samplers = [name for name in ("sampler", "batch_sampler") if arguments.get(name) is not None]
    if samplers and shuffle:
        raise value_error(
            f"shuffle and {samplers[0]} are two orders for one loader",
            (f"shuffle: {cut(shuffle)}", f"{samplers[0]}: a {type(arguments[samplers[0]]).__name__}"),
            "Leave one of them out.",
        )
    return samplers


def _require_defaults(**arguments: tuple[object, object]) -> None:
    """Refuse what the standard recipe does not have."""
    for name, (value, default) in arguments.items():
        if value != default:
            raise type_error(
                f'randomness="worker" is a plain DataLoader, which has no {name}',
                (f"{name}: {cut(value)}",),
                'Leave it out, or use randomness="sample".',
            )


def _require_blocks(dataset: object, shuffle: object, block_size: object, samplers: list[str], randomness: str) -> int:
    """Return how many samples a block has."""
    if not isinstance(shuffle, str) or shuffle != "blocks" or block_size is None:
        raise type_error(
            'shuffle= is True or False, or "blocks" together with block_size=',
            (f"shuffle: {cut(shuffle)}", f"block_size: {cut(block_size)}"),
            'Pass shuffle=True, or shuffle="blocks", block_size=1000 with the number of samples in a shard.',
        )
    _require_own_order("block_size", block_size, OMITTED, dataset, samplers, randomness)
    return count("block_size", block_size, least=1)


def _require_own_order(
    name: str, value: object, batch_size: object, dataset: object, samplers: list[str], randomness: str
) -> None:
    """Refuse an argument of the loader's own order where something else makes batches."""
    others = {
        f"batch_size: {cut(batch_size)}": not isinstance(batch_size, Omitted),
        ", ".join(samplers): bool(samplers),
        'randomness: "worker"': randomness == "worker",
        "dataset: an IterableDataset": isinstance(dataset, IterableDataset),
    }
    if other := next((text for text, holds in others.items() if holds), None):
        raise type_error(
            f"{name}= cuts the loader's own order, and goes with nothing else that cuts batches",
            (f"{name}: {cut(value)}", other),
            "Leave one of them out.",
        )


def _require_readable(dataset: object, samplers: list[str]) -> None:
    if isinstance(dataset, (IterDataPipe, MapDataPipe)):
        raise type_error(
            "a DataPipe shuffles and divides itself through hooks that this loader does not have",
            (f"found: {type(dataset).__name__}", "expected: a Dataset or an IterableDataset"),
            'Pass randomness="worker", or make it a Dataset.',
        )
    if not samplers and not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__len__"):
        raise type_error(
            "the dataset has no length, so it can have no order",
            (f"found: {type(dataset).__name__} without __len__()",),
            "Give it a __len__(), or pass a sampler.",
        )


def _require_place(dataset: object) -> None:
    """Refuse a stream that cannot say where it is."""
    if isinstance(dataset, IterableDataset) and not is_stateful(dataset):
        raise type_error(
            "this stream cannot say where it is",
            (f"found: {type(dataset).__name__} without state_dict() and load_state_dict(state)",),
            'Give it both, or pass stream_state="use" to load again what was seen.',
        )
