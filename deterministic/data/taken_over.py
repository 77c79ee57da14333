"""A loader where `make_loader` wants a dataset: refused, or its settings taken over."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from ..errors import explain
from ..ground.arguments import as_integer
from .keyed_loader import ReproducibleDataLoader

ARGUMENTS = {name: parameter.default for name, parameter in inspect.signature(DataLoader).parameters.items()}
"""The names of a DataLoader's arguments, and what they are by default."""

_OF_ORDER = ("shuffle", "sampler", "batch_sampler")
_OF_WORKERS = ("timeout", "multiprocessing_context", "prefetch_factor", "persistent_workers")


def require_one_dataset(dataset: object = None, second: object = None, **_: object) -> None:
    """Refuse a loader in place of its dataset, and what stands where batch_size does and looks like another dataset."""
    if isinstance(dataset, DataLoader):
        is_ours = isinstance(dataset, ReproducibleDataLoader)
        whole = "use this one as it is: make_loader made it" if is_ours else "take it over with all its settings"
        raise TypeError(
            explain(
                "make_loader takes a dataset, and this is a loader",
                (f"found: a {type(dataset).__name__} over a {type(dataset.dataset).__name__}",),
                f"Pass loader.dataset, or {whole}{'' if is_ours else ': make_loader.like(loader)'}.",
            )
        )
    if hasattr(second, "__getitem__") and as_integer(second) is None:
        raise TypeError(
            explain(
                "make_loader takes one dataset, and then batch_size",
                (f"found: a {type(dataset).__name__} and a {type(second).__name__}",),
                "Put tensors into one: make_loader(torch.utils.data.TensorDataset(x, y), batch_size=32).",
            )
        )


def settings_of(loader: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a loader like this one; `overrides` win over them.

    Raises:
        TypeError: It is no plain DataLoader.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader, ReproducibleDataLoader):
        raise TypeError(
            explain(
                "make_loader.like takes over the settings of a plain DataLoader",
                (f"found: a {type(loader).__name__}", "expected: a torch.utils.data.DataLoader"),
                "Use a loader of make_loader's as it is; for a dataset write make_loader(dataset, batch_size=32).",
            )
        )
    left_out = {"dataset", "collate_fn", *_OF_ORDER}
    if _cuts_batches(loader) or overrides.get("batch_sampler") is not None:
        left_out |= {"batch_size", "drop_last"}
    left_out |= {"batch_size"} if "global_batch_size" in overrides else set()
    left_out |= {"generator"} if "seed" in overrides else set()
    left_out |= {*_OF_WORKERS} if overrides.get("num_workers") == 0 else set()  # torch refuses them without workers
    values = {name: getattr(loader, name) for name in ARGUMENTS if name not in left_out}
    values = {name: value for name, value in values.items() if value is not ARGUMENTS[name]}
    default = default_convert if loader.batch_sampler is None else default_collate
    if loader.collate_fn is not default:
        values["collate_fn"] = loader.collate_fn
    return {"dataset": loader.dataset, **values, **_order_of(loader, overrides), **overrides}


def _order_of(loader: DataLoader[Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says in which order the samples come: a bool where it is one of torch's own two."""
    if _cuts_batches(loader):
        return {"batch_sampler": loader.batch_sampler}  # beside another order it is refused
    if isinstance(loader.dataset, IterableDataset) or any(overrides.get(name) is not None for name in _OF_ORDER):
        return {}
    dataset: Any = loader.dataset
    sampler: Any = loader.sampler
    if type(sampler) is SequentialSampler and sampler.data_source is dataset:
        return {"shuffle": False}
    plain = {"data_source": dataset, "replacement": False, "_num_samples": None, "generator": loader.generator}
    if type(sampler) is RandomSampler and all(getattr(sampler, name) is value for name, value in plain.items()):
        return {"shuffle": True}
    return {"sampler": sampler}


def _cuts_batches(loader: DataLoader[Any]) -> bool:
    """Return whether it has a batch_sampler of the user's."""
    return loader.batch_size is None and loader.batch_sampler is not None
