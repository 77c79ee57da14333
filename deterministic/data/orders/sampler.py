"""The order of a user's sampler or batch sampler: theirs, with nothing accidental in it, and resumed by its indices."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, SequentialSampler

from ...errors import DeterministicError, NondeterminismWarning, ResumeMismatchError, cut, value_error, warn
from ...sources.own_generators import GLOBAL
from ...values.stateful import is_stateful, takes
from ..samples.dataset_epoch import tell_one, users_epoch
from ..samples.fetch import Fetch
from ..samples.generators import SamplerPass, generator_kinds, generator_states, restore_generators
from ..samples.isolation import Isolated
from ..samples.keys import Keying, epoch_key
from .base import IndexOrder, Position, Progress, mismatch

_PLAIN = ("builtins", "torch.utils.data.sampler", "torch.utils.data.distributed")
"""Samplers of these modules remember nothing: a pass depends on their generators, the global ones, the epoch, and on
what they hold, as weights."""
_EMPTY = (SequentialSampler, RandomSampler, DistributedSampler)
"""Those of them that hold nothing but the length of the data."""
_ENOUGH = 8  # how many indices must agree where the last epoch's do not: fewer may by chance
_LAST = {"epoch": int, "done": int, "digest": int, "ended": bool, "generators": list, "sampler": object}


class SamplerOrder(IndexOrder):
    """The indices that a user's sampler gives, in its order.

    What it draws from the global generators comes from (seed, epoch), not from where they are. Generators that it
    holds, and what it says of itself with `state_dict()`, are noted when an epoch begins; a resume puts them back and
    lets the sampler give the indices again, without loading what they stand for, and compares them with the saved ones.
    What it may remember beside them is judged by the epoch before, which it is to give again, too. What of the loader
    is only `compared` on resume stands by its name in the state.
    """

    fields: ClassVar[dict[str, type]] = {"digest": int, "generators": list, "sampler": object}

    def __init__(self, sampler: Iterable[Any], keying: Keying, *, is_batched: bool, **compared: Any) -> None:
        super().__init__(keying)
        self._sampler = sampler
        self._is_batched = is_batched
        self._compared = compared
        self._indices: Any = sampler.sampler if type(sampler) is BatchSampler else sampler
        self.name = type(self._indices).__name__
        self._is_plain = type(self._indices).__module__ in _PLAIN and self._stateful() is None
        self._lived: Progress | None = None
        self._fresh: list[Any] = []
        self._is_loaded = False
        self._pending: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self._sampler)  # type: ignore[arg-type]  # a sampler without a length raises the TypeError it should

    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        self._fresh = self._fresh or [self._own_state()]
        start = progress.start
        saved = start.state or self._left()
        memory = SamplerMemory(_kept(saved) or {**self._where(), **self._last()}, start)
        begun = self._begin(saved, start.epoch)
        self._pending = None
        memory.batches, memory.digest = begun.batches, begun.digest
        progress.memory, self._lived = memory, progress
        key = epoch_key(self.keying.seed, start.epoch, "samples")
        for indices, occurrences in begun:
            memory.batches, memory.digest = begun.batches, begun.digest
            memory.digest_of(progress.yielded)
            memory.ahead.append(begun.digest)
            progress.taken += 1
            yield Fetch(indices, key, start.epoch, occurrences)
        memory.is_over = True

    def identity(self) -> dict[str, Any]:
        try:
            length = len(self._indices)
        except (TypeError, ValueError, NotImplementedError):  # it has none, or cannot say it
            length = None
        identity = {"order": self.name, "length": length, **self._compared}
        if not self._is_plain and (self._stateful() or any(takes(part, "set_epoch", 0) for part in self._parts())):
            del identity["length"]  # it may be the epoch's, as a curriculum's is; the indices are compared anyway
        return identity

    def notes(self) -> list[str]:
        if not (kinds := ", ".join(sorted(set(generator_kinds(self._sampler))))):
            return []
        own = "whose own seed decides the order: without one, each run has another."
        return [f"{self.name} holds a generator ({kinds}), {own}"]

    def state(self, progress: Progress | None) -> dict[str, Any]:
        if progress is not None and progress.memory is not None:
            done = progress.start.done + progress.yielded
            return {**progress.memory.where, "done": done, "digest": progress.memory.digest_of(progress.yielded)}
        # Begun, and no batch asked for: it still is where it was loaded from.
        kept = _kept((progress and progress.start.state) or self._left())
        return kept or {"done": 0, "digest": 0, **self._where(), **self._last()}

    def position(self, state: Mapping[str, Any]) -> Position:
        last: Any = state.get("last")
        if "last" in state and not _is_whole(last):
            raise mismatch("the state holds no place in the data", cut(last), "-", "Pass what state_dict() returned.")
        current, saved = generator_kinds(self._sampler), [entry[0] for entry in state["generators"]]
        # Where indices can be compared, they tell: a sampler may make its generators when it is iterated.
        if current != saved and (self._is_plain or not (state["done"] or last)):
            remedy = "Make it with the same generator= as when the state was saved."
            raise mismatch("the sampler has other generators than the saved one", saved, current, remedy)
        said = state["sampler"] is not None
        says = self._stateful() is not None if said else self._own_state() is not None
        if said != says:
            remedy = "Use the sampler that the state was saved with."
            raise mismatch("only one of the saved sampler and this one has a state_dict()", said, says, remedy)
        self._pending = state
        return Position(state["epoch"], state["done"], state)

    def look(self, position: Position, count: int) -> list[Fetch]:
        lived, copied = self._lived, self._copy()
        is_within = lived is not None and not (lived.ended or lived.memory.is_left) and position.state is None
        if is_within and (self._stateful() is not None or hasattr(self._sampler, "__next__")):
            raise DeterministicError(
                "within an epoch of this sampler, what its next pass begins with is not known yet",
                (f"found: {self.name}, which may go on from where it is",),
                "Call peek() or check() between two epochs.",
            )
        if copied is not None:
            return list(islice(copied.fetches(Progress(position)), count))
        before = lived, self._pending, self._where(), [(one, one.epoch) for one in self._told_epochs()]
        try:
            return list(islice(self.fetches(Progress(position)), count))
        finally:
            self._lived, self._pending, where, epochs = before
            self._put_back(where, position.epoch)
            for sampler, epoch in epochs:
                tell_one(sampler, epoch, self.keying.seed)

    def fetch_with(self, epoch: int, index: Any, occurrence: int) -> tuple[Fetch, int]:
        raise value_error(
            "the sample's draws depend on its batch, and only the sampler knows the batch",
            (f"found: {self.name}, with draws that are seeded per batch",),
            'Use randomness="sample" and a dataset without __getitems__, or an order of the loader\'s own.',
        )

    def leave(self, progress: Progress) -> None:
        memory: SamplerMemory | None = progress.memory
        if memory is not None and not progress.superseded and not memory.is_left:
            if memory.is_over or memory.start.done + progress.yielded < memory.batches:
                self._rewind(memory, progress.yielded)
            memory.is_left = True

    def undo(self, progress: Progress) -> None:
        memory: SamplerMemory | None = progress.memory
        if memory is not None and memory.start.state is not None:
            self._pending = memory.start.state
        elif memory is not None:
            self._rewind(memory, 0)

    def users_epoch(self) -> int | None:
        # Other samplers move their epoch themselves (Accelerate's does, at the end of each), so theirs says nothing.
        return users_epoch(self._told_epochs())

    def _begin(self, saved: Mapping[str, Any] | None, epoch: int) -> SamplerPass:
        """Return the epoch's pass, past what of it is behind.

        The last epoch is gone through again first, by its indices alone: a sampler that gives the same one has come to
        remember the same, shown or not. Where it gives another one, those of this epoch must be enough.
        """
        if saved is None:
            return self._pass(epoch)
        refusal, last = None, saved.get("last")
        if last is not None:
            try:
                self._again(last, last["epoch"], is_ended=last["ended"])
                begun = self._pass(epoch)
                if begun.agrees(saved["done"], saved["digest"]):
                    return begun
            except ResumeMismatchError as error:
                refusal = error
        begun, _ = self._again(saved, epoch)
        if refusal is not None and begun.indices < _ENOUGH:
            raise refusal
        return begun

    def _again(self, saved: Mapping[str, Any], epoch: int, *, is_ended: bool = False) -> tuple[SamplerPass, Any]:
        """Return a pass that has given the indices again that were given before, and what was put back before it.

        What a sampler says between two passes may mean the end of the one before. If it then begins each as its first,
        the state that it said before that is the right one.
        """
        passes = []
        for state in (saved["sampler"], *(self._fresh if self._stateful() is not None else ())):
            where = {**saved, "sampler": state}
            self._put_back(where, epoch)
            begun = self._pass(epoch)
            if begun.agrees(saved["done"], saved["digest"]) and not (is_ended and next(begun, None)):
                return begun, where
            passes.append(begun)
        raise _mismatch(saved, epoch, passes[0])

    def _pass(self, epoch: int) -> SamplerPass:
        for sampler in self._parts():
            if takes(sampler, "set_epoch", 0):
                tell_one(sampler, epoch, self.keying.seed)
        key, counts = epoch_key(self.keying.seed, epoch, "sampler"), not _gives_each_once(self._indices)
        begun = SamplerPass(self._sampler, key, is_batched=self._is_batched, counts=counts)
        if begun.ahead is None and self._is_loaded:  # with a state that said the end: that is used up now
            begun = SamplerPass(self._sampler, key, is_batched=self._is_batched, counts=counts)
        self._is_loaded = False
        return begun

    def _rewind(self, memory: SamplerMemory, yielded: int) -> None:
        """Bring the sampler back to where its pass had given so many batches.

        What is to be put back for that is tried on a copy, by all that was fetched.
        """
        epoch, where, copied = memory.start.epoch, memory.where, self._copy()
        to = {"done": memory.start.done + yielded, "digest": memory.digest_of(yielded)}
        try:
            if copied is not None:
                _, where = copied._again({**where, "done": memory.batches, "digest": memory.digest}, epoch)
            self._put_back(where, epoch)
            if to["done"] and not (begun := self._pass(epoch)).agrees(**to):
                raise _mismatch(to, epoch, begun)
        except ResumeMismatchError as error:
            remedy = "Use num_workers=0, or let epochs go to their end."
            text = "an epoch was left, and the sampler remembers what workers had fetched ahead of it"
            warn(NondeterminismWarning, text, tuple(str(error).splitlines()), remedy)

    def _put_back(self, where: Mapping[str, Any], epoch: int) -> None:
        kinds = [entry[0] for entry in where["generators"]]
        if len(kinds) > len(generator_kinds(self._sampler)):
            self._pass(epoch)  # it makes them when it is iterated
        if kinds == generator_kinds(self._sampler):
            restore_generators(self._sampler, where["generators"])
        if where["sampler"] is not None:
            with Isolated():
                self._stateful().load_state_dict(copy.deepcopy(where["sampler"]))
            self._is_loaded = True

    def _copy(self) -> SamplerOrder | None:
        """Return this order with a copy of the sampler, which may move; None: it has none, or nothing hidden moves."""
        shared = [getattr(part, name, None) for part in self._parts() for name in ("data_source", "dataset")]
        order = copy.copy(self)
        if self._is_plain:
            return None
        try:
            order._sampler = copy.deepcopy(self._sampler, {id(one): one for one in (*shared, *GLOBAL)})
        except Exception:  # noqa: BLE001 - what cannot be copied, such as an open file or a lock, may raise anything
            return None
        order._indices = order._parts()[0 if self._indices is self._sampler else 1]
        return order

    def _where(self) -> dict[str, Any]:
        """Return what the sampler's next pass depends on, as far as it shows."""
        return {"generators": generator_states(self._sampler), "sampler": self._own_state()}

    def _last(self) -> dict[str, Any]:
        """Return the epoch that the sampler went through last, for what it does not show; empty if there is none."""
        is_empty = self._is_plain and type(self._indices) in _EMPTY
        progress = None if is_empty or self._is_told_inside() else self._lived
        if progress is None or not (progress.ended or progress.memory.is_left):
            return {}
        memory: SamplerMemory = progress.memory
        last = {"epoch": memory.start.epoch, "done": memory.batches, "digest": memory.digest, "ended": progress.ended}
        if not progress.ended:
            last["done"] = memory.start.done + progress.yielded
            last["digest"] = memory.digest_of(progress.yielded)
            if not last["done"]:  # as if it had not been begun
                return {name: memory.where[name] for name in ("last",) if name in memory.where}
        return {"last": {**last, **{name: memory.where[name] for name in ("generators", "sampler")}}}

    def _is_told_inside(self) -> bool:
        """Return whether it holds a sampler that its user tells the epoch, so that an earlier one cannot come again."""
        untold = [part for part in self._parts() if not takes(part, "set_epoch", 0)]
        held = [one for part in untold for one in getattr(part, "__dict__", {}).values()]
        return any(takes(one, "set_epoch", 0) and all(one is not part for part in self._parts()) for one in held)

    def _left(self) -> Mapping[str, Any] | None:
        """Return what was loaded and not begun as the beginning of another epoch; None: nothing was."""
        saved = self._pending
        if saved is None or not saved["done"]:
            return saved
        last = {"ended": False, **{name: saved[name] for name in _LAST if name != "ended"}}
        return {**saved, "done": 0, "digest": 0, "last": last}

    def _parts(self) -> list[Any]:
        parts: list[Any] = [self._sampler]
        while isinstance(parts[-1], BatchSampler) and hasattr(parts[-1], "sampler"):
            parts.append(parts[-1].sampler)
        return parts

    def _told_epochs(self) -> list[Any]:
        return [one for one in self._parts() if isinstance(one, DistributedSampler)]

    def _stateful(self) -> Any:
        return next((one for one in self._parts() if is_stateful(one)), None)

    def _own_state(self) -> Any:
        stateful = self._stateful()
        try:
            return None if stateful is None else copy.deepcopy(stateful.state_dict())
        except AttributeError:  # it has nothing to say before it was iterated
            return None


class SamplerMemory:
    """What an epoch of a sampler leaves for the state: how it began, and which indices it has given so far."""

    def __init__(self, where: dict[str, Any], start: Position) -> None:
        self.where = where  # what the sampler's pass began with, and the epoch before it
        self.start = start  # where the epoch was begun, or gone on with
        self.batches = 0  # how many batches the pass has given, with those before the start
        self.digest = 0  # of the indices of all of them
        self.ahead: deque[int] = deque()  # of those up to each batch that was fetched and not yielded
        self.is_over = False  # whether the sampler was asked for more than its last batch
        self.is_left = False  # whether the epoch was left, and the sampler is where the last batch was yielded
        self._forgotten = 0
        self._last = 0 if start.state is None else start.state["digest"]

    def digest_of(self, yielded: int) -> int:
        """Return the digest of all indices up to the batch that was yielded last; forget those before it."""
        while self._forgotten < yielded and self.ahead:
            self._last = self.ahead.popleft()
            self._forgotten += 1
        return self._last


def _kept(saved: Mapping[str, Any] | None) -> dict[str, Any] | None:
    names = ("done", "digest", "generators", "sampler", "last")
    return None if saved is None else {name: saved[name] for name in names if name in saved}


def _is_whole(last: Any) -> bool:
    return isinstance(last, Mapping) and all(
        name in last and isinstance(last[name], kind) for name, kind in _LAST.items()
    )


def _gives_each_once(sampler: Any) -> bool:
    """Return whether it is a sampler known to give no index twice, so that none need be counted."""
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler.num_samples <= len(sampler.data_source)
    return type(sampler) is SequentialSampler


def _mismatch(saved: Mapping[str, Any], epoch: int, replay: SamplerPass) -> ResumeMismatchError:
    if replay.batches < saved["done"]:
        remedy = "Use the sampler and the data that the state was saved with."
        text = "the sampler gives fewer batches than had been taken when the state was saved"
        return mismatch(text, saved["done"], replay.batches, remedy)
    return mismatch(
        "the sampler does not repeat the indices that it gave before the state was saved",
        f"digest {saved['digest']:#x} of {saved['done']} batches of epoch {epoch}",
        f"{replay.digest:#x}",
        "Let it draw from generators that it holds or from global ones, or give it state_dict() and "
        "load_state_dict() for what else its order depends on.",
    )
