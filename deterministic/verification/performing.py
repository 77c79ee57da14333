"""One repetition of a task, in this process: under its scope, recorded into a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from ..ground.repetition import checkpoints_in
from ..scope.refusals import explain_refusal
from ..scope.reproducible import reproducible
from ..scope.request import Scope
from ..trace.recording.kept import Kept
from ..trace.recording.record import Recording
from ..trace.recording.recorder import Recorder
from ..trace.recording.seeding import Seeding
from ..trace.recording.torch_internals import graphs_compiled
from . import kept
from .runs import Done, Plan, Runner, Task

try:
    from resource import RUSAGE_CHILDREN, getrusage
except ImportError:  # Windows does not tell
    getrusage = None  # type: ignore[assignment]


def in_this_process(task: Task) -> Runner:
    """Return what runs each repetition of a task here."""
    return lambda repetition, plan, on_step: perform(task, plan, on_step)


class _Enough(BaseException):
    """Ends a replay after the segment that it was for. No Exception, so that the user's code does not handle it."""


def perform(
    task: Task,
    plan: Plan,
    on_step: Callable[[int], None] = lambda steps: None,
    on_start: Callable[[Recording, Done], None] = lambda recording, done: None,
) -> Done:
    """Run a task once, in this process; `on_start` is called when it is being recorded, before it runs."""
    done = Done(carried=task.carried())
    scope = plan.control if isinstance(plan.control, Scope) else reproducible(enabled=plan.control)
    graphs = graphs_compiled()
    started, own, children = time.monotonic(), time.process_time(), _children_seconds()

    def look_at_seed() -> None:
        seed = torch.default_generator.initial_seed()
        if seed != scope_seed and plan.control is not False:
            done.own_seed = seed

    def after_step(steps: int) -> None:
        look_at_seed()
        on_step(steps)
        if plan.segment is not None and steps > plan.segment:
            raise _Enough

    values = Kept(plan.keep) if plan.ahead or plan.segment is not None else None
    recording = Recording(
        plan.path,
        plan.level,
        said={"controlled": plan.control is not False},
        by_rank=False,  # each rank verifies for itself, in a folder of its own
        segment=plan.segment,
        ahead=plan.ahead,
        on_step=after_step,
        kept=values,
        earlier=plan.earlier,
    )
    noted: list[Seeding] = []
    recorder: Recorder | None = None
    # Each run begins without checkpoints, and leaves those of the user alone.
    with checkpoints_in(Path(f"{plan.path}.checkpoints")), scope:
        scope_seed = torch.default_generator.initial_seed()
        try:
            with recording:
                recorder = recording.recorder
                noted = recorder.seeded
                on_start(recording, done)
                result = task.run()
                recorder.returned(result)
            done.is_thin = result is None or isinstance(result, (int, str))
        except _Enough:
            done.stopped = True
        except (Exception, SystemExit) as error:  # noqa: BLE001 - which exception ends it is a part of what is compared
            if plan.control is not False:
                explain_refusal(error, task.way_out)
            done.raised, done.error = type(error).__name__, error
        look_at_seed()
    if recorder is not None and values is not None:
        done.ahead, done.watched = recorder.whole_ahead, recorder.is_ahead and isinstance(done.error, Exception)
        kept.leave(plan.path, values)
    done.seeded_at = next((note.place for note in reversed(noted) if note.seed == str(done.own_seed)), "")
    done.seconds = time.monotonic() - started
    children, own = _children_seconds() - children, time.process_time() - own
    # Where inductor compiled, its compilers and workers are children too, and what they took cannot be told apart.
    done.children_share = children / (children + own) if children and graphs == graphs_compiled() else 0.0
    return done


def _children_seconds() -> float:
    if getrusage is None:
        return 0.0
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
