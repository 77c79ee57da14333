"""`Checkpoint`: a training that goes on where it was interrupted, with the same bits."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from ..errors import CheckpointError, NondeterminismWarning, ReplayWarning, cut, users_line, value_error, warn
from ..ground.arguments import choice
from ..ground.arguments import count as whole_number
from ..ground.config import OMITTED, Omitted
from ..ground.ranks import gather, the_ranks
from ..ground.synonyms import explained
from .conditions import MISMATCH, Mismatch, conditions, generator_states, innermost_run, put_back
from .directory import DirectoryLock, directory_of, main_file, refusal, saved_steps, sweep
from .load import resume
from .loops import Loops, is_loader
from .ranks import together, warn_of_buckets
from .save import TrainingState, save_state
from .stateful import names_of_parameters, require_stateful, states_of, warn_of_metrics, warn_of_parameters
from .telling import tell

_SECONDS = 600  # between two saves within an epoch, by default; a tenth of it between two lines that say so


class Checkpoint:
    """Saves a training every so often, and continues it where the last whole checkpoint stood.

    By default it is saved at the end of each epoch and every ten minutes; with a number for `every` or `every_seconds`,
    by that and at the end of the last epoch; with `every=None, every_seconds=None`, both written out, there alone.

    Interrupted at any instant and resumed, it ends with the bits of the run that was not interrupted: parameters,
    optimizer, generators, the place in the data, `values`. Made where the training is set up, inside of
    `reproducible(...)`, it loads the objects at once; the generators are put back when the first batch is fetched, so
    that what is drawn before the loop does not shift them. A directory belongs to one training at a time.

    Under torch.distributed every rank makes it and calls it at the same steps. Not thread-safe.

    Args:
        directory: Where the checkpoints are; made if it is not there. Under `verify` each run has a fresh one instead.
        every: Save after every so many calls of `step()`, 1 or more.
        every_seconds: Save with the first `step()` so many seconds after the last save, more than 0.
        keep: How many of the last checkpoints to keep, 1 or more; None: all.
        keep_every: Keep beside these the ones of every so many steps.
        on_mismatch: What to do where versions, hardware, threads or settings are not those under which it was saved:
            "raise", or "warn" and go on.
        on_damage: What to do where the last checkpoint is damaged: "raise", or take the "previous" whole one.
        resume: "auto": from the last checkpoint, if there is one; "must": there has to be one; "never": there must not.
        stateful: What to save, by name: anything with `state_dict` and `load_state_dict`. Plain values go into
            `values`.

    Attributes:
        values: What else belongs to the training, by name: numbers, text, tensors, containers of these.
        steps: How often `step()` was called, in all, interrupted runs included.
        epoch: The epoch that is under way, or comes next, from 0.
        directory: Where the checkpoints are.

    Raises:
        CheckpointError: The directory is in use, has no checkpoint or must not have one, or the last one is damaged.
        ResumeMismatchError: It does not fit the objects, or this process.
        TypeError, ValueError: An argument is wrong.

    Example:
        >>> import tempfile, torch
        >>> from deterministic import Checkpoint, make_loader, reproducible
        >>> directory = tempfile.mkdtemp()
        >>> def train(epochs):
        ...     with reproducible(seed=0):
        ...         model = torch.nn.Linear(1, 1)
        ...         optimizer = torch.optim.Adam(model.parameters())
        ...         loader = make_loader(torch.randn(8, 1), batch_size=2, shuffle=True)
        ...         checkpoint = Checkpoint(directory, every=3, model=model, optimizer=optimizer, loader=loader)
        ...         for epoch in checkpoint.epochs(epochs):
        ...             for batch in loader:
        ...                 optimizer.zero_grad()
        ...                 model(batch).square().mean().backward()
        ...                 optimizer.step()
        ...                 checkpoint.step()
        ...         return checkpoint.steps
        >>> train(epochs=1), train(epochs=2)  # the second goes on where the first ended
        (4, 8)
    """

    @explained("Checkpoint(directory, every=100, model=model, optimizer=optimizer, loader=loader)")
    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        every: int | None | Omitted = OMITTED,
        every_seconds: float | None | Omitted = OMITTED,
        keep: int | None = 3,
        keep_every: int | None = None,
        on_mismatch: Mismatch = "raise",
        on_damage: Literal["raise", "previous"] = "raise",
        resume: Literal["auto", "never", "must"] = "auto",
        **stateful: Any,
    ) -> None:
        choice("on_mismatch", on_mismatch, MISMATCH)
        choice("on_damage", on_damage, ("raise", "previous"))
        choice("resume", resume, ("auto", "never", "must"))
        given = [value for value in (every, every_seconds) if not isinstance(value, Omitted)]
        self._saves_epochs = given in ([], [None])
        self._needs_steps = any(value is not None for value in given)
        self._every = None if isinstance(every, Omitted) else _count("every", every)
        self._keep, self._keep_every = _count("keep", keep), _count("keep_every", keep_every)
        if isinstance(every_seconds, Omitted):
            every_seconds = _SECONDS if self._saves_epochs else None
        if every_seconds is not None and not (isinstance(every_seconds, (int, float)) and every_seconds > 0):
            values = (f"found: {cut(every_seconds)}", "expected: a number of more than 0 seconds")
            raise value_error("every_seconds= is out of range", values, "Pass such a number.")
        self._every_seconds = every_seconds
        require_stateful(
            stateful, ("every", "every_seconds", "keep", "keep_every", "on_mismatch", "on_damage", "resume")
        )
        self._stateful = stateful
        self._run = innermost_run()
        self.values: dict[str, Any] = {}
        self.steps = 0
        self.epoch = 0
        self._is_in_epoch = False
        self._is_due = False
        self._pending: TrainingState | None = None
        self._saved_at, self._said_at = time.monotonic(), -math.inf
        self._saved_step = self._look_at = 0
        self._has_warned = False
        self._beside: list[Any] = []  # loaders that were not passed, at the first two steps
        warn_of_buckets(stateful)
        warn_of_parameters(stateful)
        warn_of_metrics(stateful)
        self.directory = directory_of(directory)
        self._line = users_line()
        self._lock = together(self._take_lock)
        self._loops = Loops(stateful, self._about_to_fetch)
        try:
            # Of others it is not known when they fetch: their trainings go on with the epoch's first line.
            self._has_other_loaders = any(
                is_loader(value) for name, value in stateful.items() if name not in self._loops.names
            )
            self._resume(resume, on_mismatch, on_damage)
        except BaseException:
            self.close()
            raise

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs that are left, from the one that was interrupted on; save at the end of each, or the last.

        An epoch that was interrupted after its last batch comes again, with no batches left: what follows its loop
        runs. Where everything is done, nothing is yielded.

        Args:
            count: How many epochs the training has in all, 0 or more.

        Raises:
            CheckpointError: Saving failed, or the directory was taken over.
            ValueError: It is no such number.

        Warns:
            ReplayWarning: Once, where an epoch ends without a `step()`.
        """
        number = whole_number("count=", count, what="is out of range", remedy="Pass how many epochs there are in all.")
        if self.epoch >= number:
            tell("already complete: %d epochs, %d steps, in %s", self.epoch, self.steps, self.directory)
        while self.epoch < number:
            if self._pending is not None and not self._pending.loaders:
                self._put_back()
            self._is_in_epoch = True
            self._loops.begin_epoch()
            before = None if self._pending else self.steps  # of one that goes on nothing may be left
            try:
                yield self.epoch
            finally:
                self._is_in_epoch = False
            self._put_back()  # if no loader was asked
            if self.steps == before and (self._needs_steps or (self._saves_epochs and self._loops.had_no_step)):
                self._warn_once(
                    "an epoch ended without a step of the checkpoint",
                    "between two epochs" if self._saves_epochs else "at the end of the last epoch",
                    "Write checkpoint.step() as the last line of the loop over the loader.",
                )
            self._loops.step(is_in_epoch=False)
            self.epoch += 1
            if self._is_due or self._saves_epochs or self.epoch == number:
                self._store([])
        if self.epoch == number and self._pending is not None and not self._pending.loaders:
            self._put_back()  # for what follows the training

    def step(self) -> None:
        """Count a step, and save if it is time; call it at the end of each step of the training.

        Raises:
            CheckpointError: Saving failed: see `save`.
        """
        self.steps += 1
        self._loops.step(is_in_epoch=self._is_in_epoch)
        if len(self._beside) < 2:
            self._look_beside()
        if self._saves_epochs and not self._is_in_epoch:
            self._is_due |= not self._loops.under_way()  # that it cannot be saved is said now, not in ten minutes
            if not self._is_due:
                self._warn_once(
                    "a step was made outside of checkpoint.epochs(), which tells where an epoch ends",
                    "every ten minutes",
                    "Write `for epoch in checkpoint.epochs(count):`, which begins where a resumed training stands.",
                )
        if (
            self._is_due
            or (self._every is not None and self.steps % self._every == 0)
            or (self._every_seconds is not None and self._is_time(self._every_seconds))
        ):
            self.save()

    def save(self) -> None:
        """Save now, or as soon as the training could be continued from there.

        It can after a `step()` in the body of a loop over one of the loaders, and between two epochs. It cannot in the
        middle of the body, between a loader's last batch and the end of the epoch, in the second loop with steps of an
        epoch (the first would come again), nor within an epoch if no loader was given.

        Raises:
            CheckpointError: A value cannot be stored, the disk is full, the directory was taken over, another scope is
                open inside; or this is neither in `epochs()` nor in a loop over one of the loaders. Earlier
                checkpoints are as they were.
        """
        loops = self._loops.under_way()
        if self._loops.can_go_on(loops) or (self._is_in_epoch and self._has_other_loaders):
            self._store([*loops])
        elif self._is_in_epoch or loops:
            self._is_due = True
        else:
            raise refusal(
                "a training could not be continued from a checkpoint that is saved here",
                "no loop over a loader that was given, and no `for epoch in checkpoint.epochs(...)`",
                "Write the loop over epochs(), or use save_checkpoint and load_checkpoint in a loop of your own.",
            )

    def close(self) -> None:
        """Give the directory back; again it does nothing. The end of the process does it, too, however it comes."""
        self._loops.close()
        self._lock.release()

    def _store(self, loaders: Sequence[str]) -> None:
        if not self._lock.is_held:
            raise CheckpointError(
                f"this Checkpoint no longer has {self.directory}",
                (f"made at: {self._line}", "found: it was closed, or another Checkpoint took the directory over"),
                "Use the one that was made last.",
            )
        if innermost_run() is not self._run:
            raise refusal(
                "the state of the generators outside of an inner scope cannot be saved inside of it",
                "another reproducible() scope is open than where the Checkpoint was made",
                "Save before it or after it.",
            )
        self._loops.leave()
        generators, objects = generator_states(self._run), states_of(self._stateful)
        state = TrainingState(conditions(), generators, objects, self.values, self.steps, self.epoch, loaders)
        state = state._replace(parameters=names_of_parameters(self._stateful))
        save_state(self.directory, state, keep=self._keep, keep_every=self._keep_every)
        self._is_due = False
        self._saved_at, self._saved_step, self._look_at = time.monotonic(), self.steps, 0
        if self._saved_at - self._said_at >= _SECONDS / 10:
            self._said_at = self._saved_at
            tell("saved epoch %d, step %d, in %s", self.epoch, self.steps, self.directory)

    def _take_lock(self) -> DirectoryLock:
        lock = DirectoryLock(self.directory, rank=the_ranks().rank)
        if the_ranks().rank == 0:
            sweep(self.directory)
        return lock

    def _resume(self, wanted: str, on_mismatch: Mismatch, on_damage: str) -> None:
        steps = gather(saved_steps(self.directory))[0]
        if bool(steps) != (wanted == "must") and wanted != "auto":
            raise refusal(
                f"{self.directory} does not fit resume={wanted!r}",
                f"checkpoints up to step {steps[-1]}" if steps else "no checkpoint",
                'Take another directory, or resume="auto".',
            )
        if steps:
            self._loops.require_none_begun()
        saved = resume(self.directory, steps, self._stateful, self._run, on_mismatch, on_damage)
        if saved is None:
            return
        # Only what is put back again later: all of it would take as much memory as the training.
        self._pending = saved._replace(objects={name: saved.objects[name] for name in self._loops.names})
        self.steps = self._saved_step = saved.steps
        self.epoch = saved.epoch
        self.values.update(saved.values)
        tell("resumed at epoch %d, step %d, from %s", self.epoch, self.steps, main_file(self.directory, self.steps))

    def _about_to_fetch(self, name: str) -> None:
        if self._pending is not None and name in self._pending.loaders:
            self._loops.go_on(self._pending.loaders)
            self._put_back()

    def _put_back(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            for name in self._loops.names - {*pending.loaders}:
                self._stateful[name].load_state_dict(pending.objects[name]["state"])
            put_back(pending.generators, self._run)

    def _look_beside(self) -> None:
        self._beside.append(self._loops.beside(self._run))
        first, second = self._beside[0], self._beside[-1]
        if moved := [loader for loader, batches in second.items() if 0 < first.get(loader, 0) < batches]:
            differs = "a loader gives batches to this training and is not saved: a resume would begin its epoch again"
            values = tuple(f"made at: {loader.made_at}" for loader in moved[:3])
            warn(NondeterminismWarning, differs, values, "Pass it: Checkpoint(directory, loader=loader, ...).")

    def _is_time(self, seconds: float) -> bool:
        if self.steps < self._look_at:
            return False
        passed = gather(time.monotonic() - self._saved_at)[0]
        if the_ranks().world_size > 1:  # to ask costs a collective: not before it may be time, at the pace so far
            done = self.steps - self._saved_step
            self._look_at = self.steps + max(1, min(done, int(done * (seconds / max(passed, 1e-9) - 1))))
        return passed >= seconds

    def _warn_once(self, differs: str, saved: str, remedy: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(ReplayWarning, differs, (f"made at: {self._line}", f"saved: only {saved}"), remedy)


def _count(name: str, value: object) -> int | None:
    """Return an argument that is a number from 1 on, or None; raise ValueError for any other."""
    remedy = f"Pass {name}=1 or more, or None."
    return None if value is None else whole_number(f"{name}=", value, least=1, what="is out of range", remedy=remedy)
