"""The dispatch mode: one record for each operation that torch runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...values.bits import dispatches, undispatched
from ...values.numbers import is_number
from ..file.model import COLLECTIVE, UNINITIALISED
from .attribution import Attribution, Where
from .operations import Argument, Operation, Watched, tensors_in
from .records import Draft, Records
from .torch_internals import DispatchMode, is_only_described, schema_of

_PLAIN = (torch.Tensor, torch.nn.Parameter)

_TAKING_A_GRADIENT = None, "torch::autograd::AccumulateGrad"
_COPIES = ("aten.clone.default", "aten.copy_.default", "aten.new_empty_strided.default")
"""Autograd copies a gradient that anybody else still holds, as the thread of a collective may: that is no record."""

_EMPTY = "aten.empty.memory_format"
"""A tensor from a worker begins as one without elements, whenever its batch happens to arrive: that is no record."""


class OperationMode(DispatchMode):
    """Records the operations that run while it is entered and `is_on`, on this thread and on autograd's."""

    def __init__(self, records: Records, attribution: Attribution) -> None:
        super().__init__()
        self._records = records
        self._storages = records.storages
        self._pause = records.pause
        self._attribution = attribution
        self._operations: dict[int, tuple[Any, Operation]] = {}
        self.is_on = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.is_on or self._pause.depth or is_only_described():
            return function(*args, **kwargs)
        for kind in types:
            if kind not in _PLAIN and dispatches(kind):
                return NotImplemented  # the subclass takes it apart, and its plain operations come here
        known = self._operations.get(id(function))  # its own hash is Python's
        if known is None:
            if schema_of(function) is None:
                return self._higher_order(function, args, kwargs)
            known = self._operations[id(function)] = function, Operation(function)
        operation = known[1]
        if operation.is_view and not operation.has_place:
            result = function(*args, **kwargs)
            self._attribution.note_view()
            return result
        if operation.is_collective:
            return self._collective(operation, function, args, kwargs)
        draft = Draft(self._records)
        watched = Watched(args, kwargs) if operation.draws else None
        self._read_before(operation, args, kwargs, draft)
        result = function(*args, **kwargs)
        if watched is not None:
            draft.drew(watched)
        where = self._attribution.here()
        if not operation.is_view:
            self._read_after(operation, result, operation.writes(args, kwargs), where, draft)
        arrives = operation.name == _EMPTY and not result.numel()
        if not arrives and (where[2:] != _TAKING_A_GRADIENT or operation.name not in _COPIES):
            self._records.add_operation(draft, operation.name, where)
        return result

    def _read_before(self, operation: Operation, args: Sequence[Any], kwargs: Mapping[str, Any], draft: Draft) -> None:
        inputs, is_seen = self._records.inputs, self._storages.is_seen
        if operation.packs:
            args = [value if self._is_there(value) else None for value in args]
        for argument, value in zip(operation.arguments, args):  # noqa: B905 (args may be fewer)
            if value is None or argument.is_not_read:
                continue
            # Most are tensors that a recorded operation wrote; this is all that is done for them.
            if type(value) not in _PLAIN:
                self._read_argument(argument, value, draft)
            elif inputs or not is_seen(value):
                draft.input(value, argument.name)
        for name, value in kwargs.items() if kwargs else ():
            argument = operation.keywords[name]
            if value is not None and not argument.is_not_read:
                self._read_argument(argument, value, draft)

    def _is_there(self, value: Any) -> bool:
        return not isinstance(value, torch.Tensor) or self._storages.is_there(value)

    def _read_argument(self, argument: Argument, value: Any, draft: Draft) -> None:
        if isinstance(value, torch.Tensor):
            draft.input(value, argument.name)
        elif argument.is_number:
            if is_number(value):
                draft.number("number", value, argument.name)
                return
            for index, number in enumerate(value if isinstance(value, (list, tuple)) else ()):
                if is_number(number):
                    draft.number("number", number, argument.name, index if len(value) > 1 else None)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
            draft.constant(argument.name, f"{len(value)} tensor{'s' * (len(value) != 1)}")
            inputs, is_seen = self._records.inputs, self._storages.is_seen
            for index, item in enumerate(value):
                if isinstance(item, torch.Tensor) and (inputs or not is_seen(item)):
                    draft.input(item, argument.name, index)
        elif not isinstance(value, torch.Generator):
            draft.constant(argument.name, value)

    def _read_after(
        self, operation: Operation, result: Any, writes: Sequence[torch.Tensor], where: Where, draft: Draft
    ) -> None:
        if operation.is_uninitialised:
            self._storages.mark_all((*writes, *tensors_in(result)), UNINITIALISED, where.spot)
            return
        for tensor in writes:
            draft.wrote(tensor, wholly=operation.overwrites)
        if writes and result is writes[0]:
            return
        if is_number(result):
            draft.number("output", result)
            return
        if operation.scratch is not None and isinstance(result, tuple):
            scratch = result[operation.scratch]
            result = tuple(tensor for tensor in result if tensor is not scratch)
            # None of it is needed without gradients.
            self._storages.mark_all(tensors_in(scratch), UNINITIALISED, where.spot)
        for tensor in (result,) if isinstance(result, torch.Tensor) else tensors_in(result):
            if not writes or not any(tensor is other for other in writes):
                if operation.is_from_python and tensor.dim() == 0 and tensor.is_cpu:
                    with undispatched():
                        draft.number("number", tensor.item(), "data")
                draft.made(tensor)

    def _collective(self, operation: Operation, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Record a collective: what it writes is hashed once it is there, at the latest where it is first read."""
        draft = Draft(self._records)
        for name, value in {**dict(zip(operation.keywords, args, strict=False)), **kwargs}.items():
            for index, tensor in enumerate(() if operation.keywords[name].is_not_read else tensors_in(value)):
                if self._storages.is_there(tensor):
                    draft.input(tensor, name, index)
        result = function(*args, **kwargs)
        where, writes = self._attribution.here(), operation.writes(args, kwargs)
        if operation.waits:
            for tensor in tensors_in(result):
                draft.input(tensor, "result")  # not its own: a collective's, that it waited for
        elif operation.is_under_way(args, kwargs):
            self._storages.mark_all((*writes, *tensors_in(result)), COLLECTIVE, where.spot)
        else:
            work = result[-1] if isinstance(result, tuple) else result
            if work is not None:  # some backends have waited by then, and return none
                work.wait()  # as the caller does next
            for tensor in writes:
                draft.wrote(tensor, wholly=True)
                self._storages.is_seen(tensor)  # some backends put it there again, from memory of their own
        self._records.add_operation(draft, operation.name, where)
        return result

    def _higher_order(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Record what takes functions (`torch.cond`) as one operation: what it runs does not come here."""
        draft = Draft(self._records)
        for index, tensor in enumerate(tensors_in([*args, kwargs])):
            draft.input(tensor, "input", index)
        result = function(*args, **kwargs)
        for tensor in tensors_in(result):
            draft.made(tensor)
        self._records.add_operation(draft, str(function), self._attribution.here())
        return result
