"""What an operation's schema says: what it writes, whether it draws, whether it is only a view."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

_LEAVES_MEMORY_AS_IT_IS = frozenset(
    {
        "empty",
        "empty_like",
        "empty_permuted",
        "empty_quantized",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "resize_",
        "resize_as_",
        "_empty_affine_quantized",
        "_empty_per_channel_affine_quantized",
    }
)

_FROM_PYTHON = frozenset({"lift", "lift_fresh", "lift_fresh_copy"})
"""`torch.tensor(data)` arrives as one of these: its schema is that of a view, and its data is new."""

_SHARES = frozenset({"_unsafe_view"})
"""A view, though its schema does not say so."""

_PLACE = re.compile(r"(index|start|end|step|length|(storage_)?offset|split_sizes?) ((Optional|List)\[)?int\]?")
"""Whole numbers that say which part of a tensor is meant: they differ from call to call at the same place."""

_DESCRIBES = frozenset(
    {"dim", "is_contiguous", "is_pinned", "is_same_size", "layout", "numel", "set_", "size", "storage_offset", "stride"}
)
"""They return, or change, what a record's type says anyway; so does everything that begins with `sym_` or `is_`."""

_SCRATCH = {
    "_batch_norm_with_update": 3,
    "_ctc_loss": 1,
    "_cudnn_rnn": 3,
    "cudnn_batch_norm": 3,
    "miopen_rnn": 3,
    "mkldnn_rnn_layer": 3,
}
"""Which result is room for the backward pass alone, and not all of it written: it may differ without harm."""

_SCRATCH_ARGUMENTS = frozenset({"log_alpha", "noise", "reserve", "reserveSpace", "workspace"})

_STATISTICS = frozenset({"running_mean", "running_var"})
"""Batch norm writes them while it trains, without its schema's saying so."""

_TRAINING = ("training", "train")

_BOOKKEEPING = frozenset({"profiler", "prim"})

_OVERWRITES = frozenset(
    {
        "bernoulli_",
        "cauchy_",
        "copy_",
        "exponential_",
        "fill_",
        "geometric_",
        "log_normal_",
        "normal_",
        "random_",
        "uniform_",
        "zero_",
        "_foreach_copy_",
        "_foreach_zero_",
    }
)
"""They write their first argument without reading it; so does whatever has `out=`."""

_ASYNCHRONOUS = frozenset({"c10d", "_c10d_functional"})
"""Collectives that return before the data is there."""


class Argument(NamedTuple):
    """An argument of an operation.

    Attributes:
        name: Its name.
        is_number: It holds numbers to compute with, or which part is meant; not sizes or choices.
        is_not_read: What is in it does not matter: it is overwritten, or gives its shape alone.
    """

    name: str
    is_number: bool
    is_not_read: bool


class Operation:
    """What there is to know of one operation, read once from its schema.

    Attributes:
        name: "aten.addmm.default".
        is_view: It writes nothing and returns what shares memory with an argument, or a description.
        has_place: It is a view of the part that its numbers say.
        draws: It draws from a generator.
        is_uninitialised: What it returns holds whatever the memory held.
        is_from_python: What it returns comes from Python data.
        is_asynchronous: What it writes is not there yet when it returns.
        waits: What it is given may not be there yet; it is when it returns.
        overwrites: It does not read what it writes.
        scratch: The index of what it returns that need not be the same each time; None if there is none.
        arguments: In the order of the positions.
        keywords: The same by name.
    """

    __slots__ = (
        "_statistics",
        "_training",
        "_written",
        "_written_keywords",
        "arguments",
        "draws",
        "has_place",
        "is_asynchronous",
        "is_from_python",
        "is_uninitialised",
        "is_view",
        "keywords",
        "name",
        "overwrites",
        "scratch",
        "waits",
    )

    def __init__(self, function: Any) -> None:
        schema = function._schema
        namespace, name = schema.name.split("::")
        arguments = schema.arguments
        is_written = [a.alias_info is not None and a.alias_info.is_write for a in arguments]
        self.name = str(function)
        self._written = [i for i, argument in enumerate(arguments) if is_written[i] and not argument.kwarg_only]
        self._written_keywords = [a.name for i, a in enumerate(arguments) if is_written[i] and a.kwarg_only]
        self._training = [i for i, a in enumerate(arguments) if a.name in _TRAINING]
        only_reads = name.endswith(("backward", "no_training"))
        self._statistics = [
            i for i, a in enumerate(arguments) if a.name in _STATISTICS and not is_written[i] and not only_reads
        ]
        overwritten = {*self._written_keywords, *([arguments[0].name] if name in _OVERWRITES else [])}
        self.overwrites = bool(overwritten)
        self.scratch = _SCRATCH.get(name)
        self.draws = torch.Tag.nondeterministic_seeded in function.tags
        self.is_uninitialised = name in _LEAVES_MEMORY_AS_IT_IS
        self.is_from_python = name in _FROM_PYTHON
        self.waits = namespace in _ASYNCHRONOUS and name == "wait_tensor"
        self.is_asynchronous = namespace in _ASYNCHRONOUS and not self.waits
        shares = all(a.alias_info is not None and not a.alias_info.is_write for a in schema.returns)
        self.is_view = (
            namespace in _BOOKKEEPING
            or name in _DESCRIBES
            or name in _SHARES
            or name.startswith(("sym_", "is_"))
            or (
                shares
                and not (any(is_written) or self._statistics or self.is_from_python)
                and namespace not in _ASYNCHRONOUS
            )
        )
        only_shapes = self.is_from_python or self.is_uninitialised or name.endswith("_like") or name.startswith("new_")
        only_shapes = only_shapes or self.is_view
        unread = {*overwritten, *_SCRATCH_ARGUMENTS, *(a.name for a in arguments if only_shapes)}
        places = {a.name for a in arguments if _PLACE.fullmatch(f"{a.name} {a.type}")}
        self.arguments = [
            Argument(a.name, str(a.type) in _NUMBERS or a.name in places, a.name in unread and "Tensor" in str(a.type))
            for a in arguments
        ]
        self.keywords = {argument.name: argument for argument in self.arguments}
        self.has_place = self.is_view and name not in _DESCRIBES and bool(places)

    def writes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors among the arguments that it writes."""
        if not (self._written or self._written_keywords or self._statistics):
            return []
        written = [args[position] for position in self._written if position < len(args)]
        if self._written_keywords:
            written += [kwargs[keyword] for keyword in self._written_keywords if keyword in kwargs]
        if self._statistics and all(self._argument(position, args, kwargs) for position in self._training):
            written += [self._argument(position, args, kwargs) for position in self._statistics]
        return list(tensors_in(written)) if written else []

    def _argument(self, position: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return args[position] if position < len(args) else kwargs.get(self.arguments[position].name)


_NUMBERS = frozenset(
    f"{before}{kind}{after}"
    for kind in ("number", "float", "Tensor")  # `x + 1.5` gives a number where the schema has a tensor
    for before, after in (("", ""), ("Optional[", "]"), ("List[", "]"))
) - {"List[Tensor]"}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in an argument or a result, whatever lists and dicts they are in."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
