"""A loader where `make_loader` wants a dataset: refused, or its settings taken over."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from ..errors import cut, type_error
from ..ground.arguments import as_integer
from .keyed_loader import ReproducibleDataLoader

ARGUMENTS = {name: parameter.default for name, parameter in inspect.signature(DataLoader).parameters.items()}
"""The names of a DataLoader's arguments, and what they are by default."""

_ORDERS = ("shuffle", "sampler", "batch_sampler")
_NUMBERS = ("batch_size", "num_workers", "prefetch_factor", "timeout")
_READ_BY = ("__getitem__", "__getitems__")
_OF_WORKERS = ("timeout", "multiprocessing_context", "prefetch_factor", "persistent_workers")


def require_one_dataset(
    dataset: object = None, second: object = None, shuffle: object = None, sampler: object = None, **others: object
) -> None:
    """Refuse what is no dataset: a loader, several at once, what cannot be indexed; and numbers that are text."""
    found = f"found: a {type(dataset).__name__}"
    if isinstance(dataset, DataLoader):
        whole = "take it over with all its settings: make_loader.like(loader)"
        if isinstance(dataset, ReproducibleDataLoader):
            whole = "use this one as it is: make_loader made it"
        remedy = f"Pass loader.dataset, or {whole}."
        raise type_error("make_loader takes a dataset, and this is a loader", (found,), remedy)
    for name, value in {"batch_size": second, **others}.items():
        if name in _NUMBERS and isinstance(value, str):
            values = (f"found: {name}={cut(value)}", "expected: a number")
            raise type_error(f"{name} is text", values, f"Write {name}=int({cut(value)}).")
    if (columns := _is_columns(dataset)) or (hasattr(second, "__getitem__") and as_integer(second) is None):
        found += " of tensors" if columns else f" and a {type(second).__name__}"
        remedy = (
            "Put them into one: make_loader(torch.utils.data.TensorDataset(x, y), batch_size=32), arrays and lists as "
            "torch.as_tensor(x)."
        )
        raise type_error("make_loader takes one dataset, and then batch_size", (found,), remedy)
    if not isinstance(dataset, IterableDataset) and not any(hasattr(dataset, name) for name in _READ_BY):
        remedy = "Pass a dataset, or a list: make_loader(list(zip(x, y)), batch_size=32)."
        raise type_error("make_loader takes a dataset, and this one cannot be indexed", (found,), remedy)
    if isinstance(dataset, Mapping) and sampler is None and others.get("batch_sampler") is None:
        names = [cut(name) for name in dataset if isinstance(name, str)]
        if names and len(names) == len(dataset):
            remedy = f"Choose one of them, for example make_loader(dataset[{names[0]}], batch_size=32)."
            found += f" of {', '.join(names[:5])}"
            raise type_error("make_loader takes one dataset, not a mapping of several", (found,), remedy)


def _is_columns(dataset: object) -> bool:
    """Return whether it is a tuple of tensors with a sample in each row, and not one of a few samples."""
    if not isinstance(dataset, tuple) or len(dataset) < 2:
        return False
    lengths = {len(part) if isinstance(part, torch.Tensor) and part.dim() else 0 for part in dataset}
    return len(lengths) == 1 and max(lengths) > len(dataset)


def settings_of(loader: object, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a loader like this plain DataLoader; `overrides` win over them."""
    if not isinstance(loader, DataLoader) or isinstance(loader, ReproducibleDataLoader):
        found = (f"found: a {type(loader).__name__}", "expected: a torch.utils.data.DataLoader")
        remedy = "Use a loader of make_loader's as it is; for a dataset write make_loader(dataset, batch_size=32)."
        raise type_error("make_loader.like takes over the settings of a plain DataLoader", found, remedy)
    default = default_convert if loader.batch_sampler is None else default_collate
    settings: dict[str, Any] = {} if loader.collate_fn is default else {"collate_fn": loader.collate_fn}
    left_out = {"dataset", "collate_fn", *_ORDERS}
    if loader.batch_size is None and loader.batch_sampler is not None:  # the user's; beside another order it is refused
        settings["batch_sampler"] = loader.batch_sampler
    elif not any(overrides.get(name) is not None for name in _ORDERS):
        settings |= _order_of(loader)
    if "batch_sampler" in settings or overrides.get("batch_sampler") is not None:
        left_out |= {"batch_size", "drop_last"}
    if "global_batch_size" in overrides:
        left_out.add("batch_size")
    if "seed" in overrides:
        left_out.add("generator")
    if overrides.get("num_workers") == 0:  # without workers torch refuses them
        left_out |= {*_OF_WORKERS}
    taken = {name: getattr(loader, name) for name in ARGUMENTS if name not in left_out}
    taken = {name: value for name, value in taken.items() if value is not ARGUMENTS[name]}
    return {"dataset": loader.dataset, **taken, **settings, **overrides}


def _order_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return what says in which order the samples come: a bool where it is one of torch's own two."""
    dataset: Any = loader.dataset
    sampler: Any = loader.sampler
    if isinstance(dataset, IterableDataset):
        return {}
    if type(sampler) is SequentialSampler and sampler.data_source is dataset:
        return {"shuffle": False}
    plain = {"data_source": dataset, "replacement": False, "_num_samples": None, "generator": loader.generator}
    if type(sampler) is RandomSampler and all(getattr(sampler, name) is value for name, value in plain.items()):
        return {"shuffle": True}
    return {"sampler": sampler}
