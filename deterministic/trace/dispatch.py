"""The dispatch mode: one record for each operation that torch runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .attribution import Attribution, Where
from .bits import undispatched
from .drafts import Draft, Drafts, constant
from .eager import EAGER
from .generators import generator_of, state_hash
from .observations import Pause
from .operations import Operation, tensors_in
from .storages import COLLECTIVE, UNINITIALISED
from .torch_internals import DispatchMode, is_only_described
from .values import is_number, is_plain

_PLAIN = (torch.Tensor, torch.nn.Parameter)


class OperationMode(DispatchMode):
    """Records the operations that run while it is entered, on this thread and on autograd's.

    Args:
        drafts: Where records are put together.
        attribution: Tells where an operation belongs.
        pause: Entered while the recorder itself runs operations.

    Attributes:
        is_on: Whether it records.
    """

    def __init__(self, drafts: Drafts, attribution: Attribution, pause: Pause) -> None:
        super().__init__()
        self._drafts = drafts
        self._storages = drafts.storages
        self._attribution = attribution
        self._pause = pause
        self._operations: dict[int, tuple[Any, Operation]] = {}
        self.is_on = True

    def enter(self) -> None:
        """Put it in place on this thread."""
        super().enter()
        EAGER.hold()

    def leave(self) -> None:
        """Take it away."""
        super().leave()
        EAGER.release()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for kind in types:
            if kind not in _PLAIN:
                return NotImplemented  # the subclass takes it apart, and its plain operations come here
        if not self.is_on or self._pause.depth or is_only_described():
            return function(*args, **kwargs)
        known = self._operations.get(id(function))  # its own hash is Python's
        if known is None:
            if not hasattr(function, "_schema"):
                return self._higher_order(function, args, kwargs)
            known = self._operations[id(function)] = function, Operation(function)
        operation = known[1]
        if operation.is_view:
            result = function(*args, **kwargs)
            self._attribution.note_view()
            return result
        draft = Draft(self._drafts)
        self._read_before(operation, args, kwargs, draft)
        result = function(*args, **kwargs)
        where = self._attribution.here()
        self._read_after(operation, result, operation.writes(args, kwargs), where, draft)
        draft.finish(operation.name, where)
        return result

    def _read_before(self, operation: Operation, args: Sequence[Any], kwargs: Mapping[str, Any], draft: Draft) -> None:
        if operation.draws:
            generator, name = generator_of(args, kwargs)
            if generator is not None:
                draft.drew(state_hash(generator), name)
        for argument, value in zip(operation.argument_names, args):  # noqa: B905 (args may be fewer)
            if isinstance(value, torch.Tensor):
                if argument not in operation.overwritten and not operation.is_from_python:
                    draft.input(value, argument)
            elif value is not None:
                self._read_argument(operation, argument, value, draft)
        for argument, value in kwargs.items():
            if value is not None and argument not in operation.overwritten:
                self._read_argument(operation, argument, value, draft)

    def _read_argument(self, operation: Operation, argument: str, value: Any, draft: Draft) -> None:
        if isinstance(value, torch.Tensor):
            draft.input(value, argument)
        elif argument in operation.scalars:
            numbers = value if isinstance(value, (list, tuple)) else (value,)
            for index, number in enumerate(numbers):
                if is_number(number):
                    draft.number("number", number, argument, index if len(numbers) > 1 else None)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
            if argument not in operation.overwritten:
                for index, item in enumerate(value):
                    if isinstance(item, torch.Tensor):
                        draft.input(item, argument, index)
        elif not isinstance(value, torch.Generator):
            draft.constants.append((argument, constant(value)))

    def _read_after(
        self, operation: Operation, result: Any, writes: Sequence[torch.Tensor], where: Where, draft: Draft
    ) -> None:
        returned = [tensor for tensor in tensors_in(result) if not any(tensor is other for other in writes)]
        if operation.is_uninitialised or operation.is_asynchronous:
            for tensor in (*writes, *returned):
                if is_plain(tensor):
                    origin = UNINITIALISED if operation.is_uninitialised else COLLECTIVE
                    self._storages.mark(tensor, origin, where.spot)
            return
        for tensor in writes:
            if not is_plain(tensor):
                continue
            if operation.overwritten:
                self._storages.overwrote(tensor)
            elif self._storages.is_uninitialised(tensor):
                continue  # what was not written is whatever the memory held, and may differ without harm
            draft.output(tensor)
        for tensor in returned:
            if is_plain(tensor):
                self._storages.made(tensor)
                if operation.is_from_python and tensor.dim() == 0 and tensor.is_cpu:
                    with undispatched():
                        draft.number("number", tensor.item(), "data")
                draft.output(tensor)
        if is_number(result):
            draft.number("output", result)

    def _higher_order(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Record what takes functions (`torch.cond`) as one operation: what it runs does not come here."""
        draft = Draft(self._drafts)
        for index, tensor in enumerate(tensors_in([*args, kwargs])):
            draft.input(tensor, "input", index)
        result = function(*args, **kwargs)
        for tensor in tensors_in(result):
            self._storages.made(tensor)
            draft.output(tensor)
        draft.finish(str(function), self._attribution.here())
        return result
