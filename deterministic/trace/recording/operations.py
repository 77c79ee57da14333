"""What an operation's schema says: what it writes, whether it draws, whether it is only a view; and from what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import xxhash

from ..file.model import ASYNCHRONOUS
from .torch_internals import default_generator, is_one_generator, schema_of

_LEAVES_MEMORY_AS_IT_IS = re.compile(
    r"(new_)?empty(_like|_permuted|_quantized|_strided)?|resize_(as_)?|_empty_(per_channel_)?affine_quantized"
)

_FROM_PYTHON = frozenset({"lift", "lift_fresh", "lift_fresh_copy"})
"""`torch.tensor(data)` arrives as one of these: its schema is that of a view, and its data is new."""

_SHARES = frozenset({"_unsafe_view", "_wrap_tensor_autograd"})  # a view, though its schema does not say so

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
    "all_gather_copy_in": 1,  # of FSDP2: the other ranks' parts are still to come
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

_OVERWRITES = re.compile(
    r"(bernoulli|cauchy|copy|exponential|fill|geometric|log_normal|normal|random|uniform|zero)_|_foreach_(copy|zero)_"
)
"""They write their first argument without reading it; so does whatever has `out=`."""

_RECEIVES = re.compile(r".+(\.output.*|_\.tensors)")
"""The arguments that c10d's operations write: their schemas do not say it."""


class Argument(NamedTuple):
    """An argument of an operation."""

    name: str
    is_number: bool  # it holds numbers to compute with, or which part is meant; not sizes or choices
    is_not_read: bool  # what is in it does not matter: it is overwritten, or gives its shape alone


class Operation:
    """What there is to know of one operation, read once from its schema."""

    def __init__(self, function: Any) -> None:
        schema = schema_of(function)
        namespace, name = schema.name.split("::")
        arguments = schema.arguments
        is_written = [a.alias_info is not None and a.alias_info.is_write for a in arguments]
        if namespace == "c10d":
            is_written = [_RECEIVES.fullmatch(f"{name}.{a.name}") is not None for a in arguments]
        self.name = str(function)  # "aten.addmm.default"
        self._written = [i for i, is_one in enumerate(is_written) if is_one]
        self._training = [i for i, a in enumerate(arguments) if a.name in _TRAINING]
        only_reads = name.endswith(("backward", "no_training"))
        self._statistics = [
            i for i, a in enumerate(arguments) if a.name in _STATISTICS and not is_written[i] and not only_reads
        ]
        self._only = self._written[0] if len(self._written) == 1 and not self._statistics else None
        overwritten = {arguments[i].name for i in self._written if arguments[i].kwarg_only}  # "out"
        overwritten |= {arguments[0].name} if _OVERWRITES.fullmatch(name) else set()
        self.overwrites = bool(overwritten)  # it does not read what it writes
        self.scratch = _SCRATCH.get(name)  # the index of what it returns that need not be the same each time, if any
        # It returns an object without values. Quantized modules pack what their memory holds when they are made, and
        # once more when they are given weights.
        is_opaque = all("Tensor" not in str(a.type) for a in schema.returns)
        self.packs = namespace == "quantized" and "prepack" in name and is_opaque
        self.draws = torch.Tag.nondeterministic_seeded in function.tags  # from a generator
        # What it returns holds whatever the memory held.
        self.is_uninitialised = _LEAVES_MEMORY_AS_IT_IS.fullmatch(name) is not None
        self.is_from_python = name in _FROM_PYTHON  # what it returns comes from Python data
        # What it is given may not be there yet; it is when it returns.
        self.waits = namespace in ASYNCHRONOUS and name == "wait_tensor"
        self.is_collective = namespace in ASYNCHRONOUS  # what it writes need not be there yet: see `is_under_way`
        # Where only the root receives, what is in the others' memory afterwards is not said.
        tells = [] if name == "reduce_" else [a.name in ("async_op", "asyncOp") for a in arguments]
        self._async_op = tells.index(True) if True in tells else None
        shares = all(a.alias_info is not None and not a.alias_info.is_write for a in schema.returns)
        # It writes nothing and returns what shares memory with an argument, or a description.
        self.is_view = (
            namespace in _BOOKKEEPING
            or name in _DESCRIBES
            or name in _SHARES
            or name.startswith(("sym_", "is_"))
            or (
                shares
                and not (any(is_written) or self._statistics or self.is_from_python)
                and namespace not in ASYNCHRONOUS
            )
        )
        only_shapes = self.is_from_python or self.is_uninitialised or name.endswith("_like") or name.startswith("new_")
        only_shapes = only_shapes or self.is_view or self.waits or (self.is_collective and "recv" in name)
        unread = {*overwritten, *_SCRATCH_ARGUMENTS, *(a.name for a in arguments if only_shapes)}
        if self.is_collective or name == "all_gather_copy_in":
            unread |= {a.name for a in arguments if "output" in a.name}
        places = {a.name for a in arguments if _PLACE.fullmatch(f"{a.name} {a.type}")}
        self.arguments = [
            Argument(a.name, str(a.type) in _NUMBERS or a.name in places, a.name in unread and "Tensor" in str(a.type))
            for a in arguments
        ]
        self.keywords = {argument.name: argument for argument in self.arguments}
        self.has_place = self.is_view and name not in _DESCRIBES and bool(places)  # of the part that its numbers say

    def writes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[torch.Tensor]:
        """Return the tensors among the arguments that it writes."""
        if not (self._written or self._statistics):
            return ()
        if self._only is not None and isinstance(value := self._argument(self._only, args, kwargs), torch.Tensor):
            return (value,)
        is_training = all(self._argument(position, args, kwargs) for position in self._training)
        positions = self._written + self._statistics if is_training else self._written
        return list(tensors_in([self._argument(position, args, kwargs) for position in positions]))

    def is_under_way(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Return whether a collective's caller goes on before what it writes is there."""
        return self._async_op is None or self._argument(self._async_op, args, kwargs) is not False

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


class Watched:
    """The generator that an operation with these arguments may draw from, and its state before."""

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.generator, self.name = generator_of(args, kwargs)
        self.state = None if self.generator is None else state_hash(self.generator)

    def has_moved(self) -> bool:
        return self.generator is not None and state_hash(self.generator) != self.state


def generator_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[torch.Generator | None, str]:
    """Return the generator that such an operation draws from, None where a device has none yet; and "default cpu"."""
    for value in (kwargs.get("generator"), *args):
        if isinstance(value, torch.Generator):
            is_default = is_one_generator(value, default_generator(value.device))
            return value, f"{'default' if is_default else 'own'} {value.device}"
    device = kwargs.get("device") or next((tensor.device for tensor in tensors_in([*args])), torch.device("cpu"))
    device = torch.device(device)
    return default_generator(device), f"default {device}"


def state_hash(generator: torch.Generator) -> int:
    """Return 64 bits of a generator's state; waits for no device."""
    return xxhash.xxh3_64_intdigest(generator.get_state().numpy().data)
