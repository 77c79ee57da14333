"""The recorder: puts the hooks and the dispatch mode in place, and takes them away again."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from operator import itemgetter
from typing import Any

import torch

from ...sources.registry import described
from ...values.bits import row_of_values, undispatched
from ...values.hashes import number_of
from ...values.numbers import hash_of_text
from ..file.model import NO_OPTIMIZER, TRACE_LEVELS, Kind, TraceLevel
from .attribution import Attribution
from .compiled import CompiledRegions
from .dispatch import OperationMode
from .kept import Kept
from .log import Log, Writer
from .modules import OUTSIDE, ModuleName, Modules
from .places import Places
from .records import Records, leaves
from .seeding import ACTIVE, Seeding, watch
from .states import States
from .steps import ByHand, Steps
from .storages import Storages, ThreadWatch
from .torch_internals import are_modes_put_back, current_node, keyword_arguments, storage_key, wait_for, works_for

MOST_OVERWRITTEN = 256
"""Steps of which it is noted what was written over before anything read it, and records of one step."""

FEW, MANY = 1 << 10, 1 << 14
"""Records from which on operations are no longer recorded ahead: at the end of a step, and within the first."""


class Recorder:
    """Records what this thread does between `start` and `stop`; in a forked child of the process it does nothing.

    Args:
        segment: Record operations in the segment of this number alone, from 0, and up to the level "values" elsewhere;
            None: in all of them.
        ahead: Record operations in the first segment, and in those after it as long as there are but `FEW` records.
        absolute_paths, source: See `record`.
        on_step: Called after each segment that a step ended, with how many have ended. What it raises comes out of the
            user's `optimizer.step()`.
        kept: What values to keep, of `segment`, or of what is recorded ahead.
        earlier: Tell memory that is there when it starts from what comes from outside torch.
    """

    def __init__(
        self,
        writer: Writer,
        level: TraceLevel,
        *,
        segment: int | None = None,
        ahead: bool = False,
        absolute_paths: bool = False,
        source: bool = True,
        on_step: Callable[[int], None] = lambda steps: None,
        kept: Kept | None = None,
        earlier: bool = False,
    ) -> None:
        self._level = level
        self._earlier = earlier
        self._segment = segment
        self._ahead = ahead
        self._ended_ahead: int | None = None  # the segment in which operations were recorded no more
        self._on_step = on_step
        self._log = Log(writer, level)
        self._places = Places(absolute=absolute_paths, texts=source)
        self._storages = Storages(self._log.__len__)
        first_seed = torch.default_generator.initial_seed() if ahead or segment is not None else None
        if kept is not None and ahead:
            kept.records, kept.on_full = MANY, self._end_ahead
        self._records = Records(self._log, self._places, self._storages, self._has("ops+inputs"), kept, first_seed)
        self._overwritten: dict[str, list[int]] = {}
        self._modules = Modules(self._on_root, self._on_return)
        self._states = States(self._records, self._modules.name_of)
        self._attribution = Attribution(self._modules, self._places, self._states.owner)
        self._steps = Steps(self._records, self._states, self._on_optimizer, self._on_optimizer_done)
        self._by_hand = ByHand(self._records.read, self._on_backward, self._on_step_by_hand, self._on_roots)
        self._threads = ThreadWatch(self._storages, self._places)
        self._compiled = CompiledRegions(self._records, self._attribution)
        self._mode: OperationMode | None = None
        self._steps_within: bool | None = None
        self._thread = threading.get_ident()
        self._undo = ExitStack()
        self.seeded: list[Seeding] = []
        self.compared = 0
        """How many records there are that say what was computed: not what it was computed from."""

    @property
    def steps(self) -> int:
        return self._steps.total

    @property
    def failed(self) -> bool:
        """Whether writing has failed: what that raised was raised then, and the trace ends there."""
        return self._log.failed

    def summary(self) -> dict[str, Any]:
        """Return what the footer of a trace says: how much there is to compare, and what was not seen."""
        return {
            "steps": self.steps,
            "compared": self.compared,
            **self._records.missed,
            "steps_of_other_threads": self._steps.missed,
            "generators": global_states(),
            "overwritten": self._overwritten,
            "seeded": self.seeded,
        }

    def start(self) -> None:
        _prepare_process()
        if self._earlier:
            self._storages.mark_alive()
        try:
            parts: list[Any] = [self._modules, self._steps, self._by_hand]
            for part in [*parts, self._threads, self._compiled] if self._has("ops") else parts:
                self._undo.callback(part.stop)  # first, for Ctrl-C may come in the middle of it
                part.start()
            self._undo.callback(watch)
            ACTIVE.append(self)
            self._undo.callback(lambda: ACTIVE.remove(self))
            watch()
            self._undo.callback(self._close_window, force=True)
            self._open_window()
        except BaseException:
            self.stop()
            raise

    def finish(self) -> None:
        """Record what only the end shows; call it before `stop`, if nothing was raised."""
        self._by_hand.look(is_end=True)
        self.compared += self._states.look(is_end=True) > 0

    def stop(self) -> None:
        """Record no more, and take everything away that `start` put in place. Again it does nothing."""
        self._undo.close()
        self._storages.clear()  # threads that go on have it still

    def end(self) -> None:
        """Write what followed the last step; call it last."""
        self._note_overwritten(NO_OPTIMIZER, self.steps)
        self._log.end()

    def _note_overwritten(self, optimizer: int, count: int) -> None:
        records = self._storages.take_overwritten()
        # Of a step that was cut into parts, records are counted anew in each.
        if records and not self._log.part and len(self._overwritten) < MOST_OVERWRITTEN:
            self._overwritten[f"{optimizer} {count}"] = records[:MOST_OVERWRITTEN]

    def observe(self, name: str, value: Any) -> None:
        """Record a value that the user wants compared; of a single number the number, too, so that it can be drawn."""
        with suppress(TypeError), undispatched():  # it may have no values that can be read
            row = row_of_values(value) if isinstance(value, torch.Tensor) else None
            if row is not None and row.numel() == 1 and not row.is_complex():
                value = {"": value, "value": row.item()}
        self._add("observed", name, value)

    def returned(self, value: Any) -> None:
        if value is not None:
            self._add("returned", "", value)

    def batch(self, epoch: int, start: int, number: int, batch: Any) -> None:
        """Record what a loader's iterator yielded: it started there in the epoch, and had yielded so many before."""
        values = {"epoch": epoch, "start within the epoch": start, "number": number, "content": batch}
        self._add("batch", "of a loader", values, beside=3, spot=self._places.here())

    def _add(self, kind: Kind, title: str, value: Any, *, beside: int = 0, **where: Any) -> None:
        """Add a record; `beside`: how many of its values say nothing of what was computed."""
        if threading.get_ident() == self._thread:
            self._by_hand.look()
            self.compared += self._records.add(kind, title, [("", value)], **where) > beside

    def _has(self, level: TraceLevel) -> bool:
        return TRACE_LEVELS.index(self._level) >= TRACE_LEVELS.index(level)

    # Modules

    def _on_root(self, module: torch.nn.Module, name: ModuleName, arguments: Any, is_new: bool) -> None:
        if threading.get_ident() != self._thread:
            return
        self._by_hand.look()
        self._open_window()
        spot = self._places.here()
        if is_new and not name.path:  # else it was met as a part of another
            for path, tensor in self._states.meet(module, spot):
                self._storages.call(tensor, path)
        if current_node() is None:
            keywords = keyword_arguments()
            inputs = [*arguments, keywords] if keywords else arguments
            self._records.add("input", name.own, [("", inputs)], phase="forward", module=name, spot=spot)

    def _on_return(self, name: ModuleName, result: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        phase = "forward" if current_node() is None else "recompute"
        is_root = phase == "forward" and self._modules.current() is OUTSIDE
        if is_root:
            self._add("result", name.own, result, phase=phase, module=name, spot=self._places.here())
        if not self._has("modules") or not self._is_in_window():
            return
        if not is_root:
            self._add("module", name.own, result, phase=phase, module=name)
        for index, tensor in enumerate(leaf for _, leaf in leaves("", result) if isinstance(leaf, torch.Tensor)):
            # A hook on a leaf would stay there for good.
            if tensor.requires_grad and not tensor.is_leaf and phase == "forward":
                self._watch_gradient(tensor, name, index)

    def _watch_gradient(self, tensor: torch.Tensor, name: ModuleName, index: int) -> None:
        def record(gradient: torch.Tensor) -> None:
            if self in ACTIVE and self._is_in_window() and works_for(self._thread):
                title = f"gradient of output {index}"
                self._records.add("module", title, [("", gradient)], phase="backward", module=name)

        tensor.register_hook(record)

    # Steps

    def _on_roots(self, roots: Sequence[Any]) -> None:
        for root in roots:
            wait_for(root)
        bits = number_of(roots[0]) if len(roots) == 1 and isinstance(roots[0], torch.Tensor) else None
        if bits is not None:
            self._by_hand.look()
            self._records.add_number("loss", bits, self._places.here())
            self.compared += 1

    def _on_backward(self, leaves: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]) -> None:
        of_leaves = zip(self._steps.named(leaves), gradients, strict=True)
        # TorchScript makes a graph of another shape from the second call on, which is gone through in another order.
        values = sorted(((name, one) for (name, _), one in of_leaves if one is not None), key=itemgetter(0))
        self.compared += self._records.add("gradient", "a backward pass", values) > 0
        self._records.leaves, self._records.leaves_until = {*map(storage_key, leaves)}, 0
        self._open_window()

    def _on_step_by_hand(self, leaves: Sequence[torch.Tensor]) -> None:
        if self._records.leaves_until:
            self._log.set_aside(self._records.leaves_until)  # what follows the update is the next step's
            if self._records.kept is not None:
                self._records.kept.set_aside(len(self._log))
            self._storages.forget_overwritten(len(self._log))
        self._steps.by_hand(leaves)

    def _on_optimizer(self, closure: Any) -> Any:
        self._by_hand.rest()
        self._records.leaves = ()
        self._close_window()
        self._attribution.optimizers_running += 1
        if closure is None:
            return None

        def run(*args: Any, **kwargs: Any) -> Any:
            # It is the training step that runs in here, not the optimizer.
            running, self._attribution.optimizers_running = self._attribution.optimizers_running, 0
            try:
                return closure(*args, **kwargs)
            finally:
                self._attribution.optimizers_running = running

        return run

    def _on_optimizer_done(self, optimizer: int, count: int, is_compared: bool) -> None:
        self._attribution.optimizers_running = max(0, self._attribution.optimizers_running - 1)
        self._attribution.end_step()
        self.compared += is_compared
        self._states.look()
        self._note_overwritten(optimizer, count)
        self._log.end_step(optimizer, count)
        self._steps_within = bool(self._steps_within) or are_modes_put_back()
        if self._ahead and self._log.total >= FEW:
            self._end_ahead()
        self._close_window()
        self._open_window()
        self._on_step(self.steps)

    # The window in which operations are recorded

    @property
    def is_ahead(self) -> bool:
        """Whether operations are recorded ahead, or were to the end."""
        return self._ahead and self._ended_ahead is None

    def _end_ahead(self) -> None:
        if self.is_ahead:
            self._ended_ahead = self.steps
            self._turn(on=False)

    @property
    def whole_ahead(self) -> int:
        """In how many segments all operations were recorded ahead."""
        return self.steps + 1 if self.is_ahead else self._ended_ahead or 0

    def _is_in_window(self) -> bool:
        if self._ahead:
            return self.is_ahead
        # Where a step by hand ends is seen later: until then the next one may have begun.
        ahead = 1 if self._by_hand.waiting else 0
        return self._segment is None or self.steps <= self._segment <= self.steps + ahead

    def _open_window(self) -> None:
        is_open = self._is_in_window()
        if self._records.kept is not None:
            is_kept = is_open if self._ahead else self._segment in (None, self.steps)
            self._records.kept.segment = self.steps if is_kept else None
        if not self._has("ops"):
            return
        # Autograd puts the modes back that there were when backward() was called, and so do compiled calls: where
        # optimizers step within one, the mode has to be there all the time. Whether they do the first step tells.
        if self._mode is None and (is_open or self._steps_within is not False) and not are_modes_put_back():
            self._mode = OperationMode(self._records, self._attribution)
            self._mode.enter()
        self._turn(on=is_open)

    def _close_window(self, *, force: bool = False) -> None:
        if self._mode is not None and (force or not self._is_in_window()):
            self._turn(on=False)
            if force or (not self._steps_within and not are_modes_put_back()):
                self._mode.leave()
                self._mode = None

    def _turn(self, *, on: bool) -> None:
        if self._mode is not None:
            self._mode.is_on = on
            self._compiled.turn(on=on)


def global_states() -> dict[str, str]:
    """Return a digest of the state of each process-global generator, by name."""
    states = described("rng")
    return {name: f"{hash_of_text(json.dumps(state, sort_keys=True)):016x}" for name, state in states.items()}


@cache
def _prepare_process() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_stop_all)


def _stop_all() -> None:
    for recorder in [*ACTIVE]:
        recorder.stop()
