"""Where two traces first differ, in the order in which things happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import chain, zip_longest

import numpy as np

from ...values.numbers import NOT_COMPARED
from ..file.model import LOWEST_LEVEL, NO_OPTIMIZER, TRACE_LEVELS, Site, Step, TraceLevel
from ..file.store import TraceReader
from .cursor import Cursor, Group, Side, aligned, common_prefix, common_subsequence, groups_of
from .divergence import Comparison, Divergence, Moment, corresponding, differing_values

_EMPTY = np.empty(0, np.intp)

_AT_ONCE = 1 << 14  # records that are compared in one go; what it takes beside the segments is bounded by it
_WINDOW = 2048  # records of each trace that are aligned with each other, in time quadratic in them
_FARTHEST_STEP = 1024  # how many steps a step that one trace lacks is waited for


def compare(a: TraceReader, b: TraceReader, level: TraceLevel = "ops+inputs", start: int = 0) -> Comparison:
    """Compare two traces at a level, or the highest that both have; the first `start` steps are passed as the same.

    One segment of each is in memory at a time.
    """
    level = TRACE_LEVELS[min(map(TRACE_LEVELS.index, (a.level, b.level, level)))]
    comparison = _Comparer(a, b, level).run(start)
    has_operations = LOWEST_LEVEL["operation"] in TRACE_LEVELS[: TRACE_LEVELS.index(level) + 1]
    comparison.has_operations = has_operations and all(any(map(_is_read_operation, r.sites)) for r in (a, b))
    return comparison


def _is_read_operation(site: Site) -> bool:
    outputs = (value.type for value in site.values if value.role == "output")
    return site.kind == "operation" and not all(of.endswith(NOT_COMPARED) for of in outputs)


class _Comparer:
    def __init__(self, a: TraceReader, b: TraceReader, level: TraceLevel) -> None:
        self._level = level
        self._sides = Side(a, level), Side(b, level)
        self._columns = cache(self._columns_of)
        self._parted: tuple[Moment, Moment, int] | None = None
        self._step: Step | None = None
        self._overwritten: Divergence | None = None  # the first that differs of what was written over unread
        self._comparison = Comparison(level)

    def run(self, start: int) -> Comparison:
        comparison = self._comparison
        ones, others = (groups_of(side.reader) for side in self._sides)
        for one, other in zip_longest(ones, others):
            divergence = None if comparison.steps < start else self._first_difference(one, other)
            if divergence is None:
                self._count(one or other)
            elif self._is_only_cut(divergence, one, other):
                comparison.ended = divergence.step
                deque(chain(ones, others), maxlen=0)  # at their end the readers find the footers
                return comparison
            else:
                divergence.segment = comparison.steps
                divergence.overwritten = None if self._overwritten is None else self._overwritten.pair
                comparison.divergence = divergence
                self._count_later(divergence, chain([one], ones), chain([other], others))
                return comparison
        if any(side.reader.footer is None for side in self._sides):
            comparison.ended = Step(NO_OPTIMIZER, comparison.steps)
        comparison.divergence = self._overwritten  # read by what is not recorded, if it matters
        return comparison

    def _count(self, group: Group | None) -> None:
        if group is not None and group.ends_step:
            self._comparison.steps += 1
            self._comparison.optimizers = max(self._comparison.optimizers, group.step.optimizer + 1)

    # One step

    def _first_difference(self, one: Group | None, other: Group | None) -> Divergence | None:
        if one is not None and other is not None:
            if self._are_equal(one, other):
                return None
            a, b = one.step, other.step
            if a.optimizer == b.optimizer != NO_OPTIMIZER and a.number != b.number:  # one trace lacks a step
                one, other = (one, None) if a.number < b.number else (None, other)
        groups = [group for group in (one, other) if group is not None]
        step = self._step = max(groups, key=lambda group: group.ends_step).step
        divergence = Divergence(step, self._level)
        if self._level == "digest":
            return divergence
        first, second = self._cursors(one, other)
        first.unread, second.unread = self._sides[0].overwritten(one), self._sides[1].overwritten(other)
        self._walk(divergence, first, second)
        divergence.has_operations = first.has_operations or second.has_operations
        divergence.optimizer = (first if one is not None and one.step == step else second).optimizer
        # The digests may differ because the levels do; and a trace may lack what has no records.
        only_digests = one is not None and other is not None and one.step == other.step
        return None if not divergence.moment and (only_digests or step.optimizer == NO_OPTIMIZER) else divergence

    def _is_only_cut(self, divergence: Divergence, one: Group | None, other: Group | None) -> bool:
        """Return whether nothing differs but that a trace ends that was not finished."""
        return any(
            moment is None and (group is None or group.step.part > 0) and side.reader.footer is None
            for side, group, moment in (
                (self._sides[0], one, divergence.first),
                (self._sides[1], other, divergence.second),
            )
        )

    def _are_equal(self, one: Group, other: Group) -> bool:
        """Return whether the digests say that two steps are equal; where they cannot say it, no."""
        if one.step != other.step:
            return False
        a, b = self._sides
        if a.reader.level == b.reader.level == self._level:
            return [entry.digest for entry in one.entries] == [entry.digest for entry in other.entries]
        if self._level == "digest":
            return a.values_digests(one) == b.values_digests(other)
        return self._level == "values" and _same_values(one, other) is True

    def _differ(self, one: Group, other: Group) -> bool:
        """Return whether two steps differ, at no more cost than that takes."""
        if self._are_equal(one, other):
            return False
        if self._level == "digest" or _same_values(one, other) is False:
            return True
        difference = Divergence(None, self._level)
        self._walk(difference, *self._cursors(one, other), only_first=True)
        return difference.moment is not None

    def _cursors(self, one: Group | None, other: Group | None) -> tuple[Cursor, Cursor]:
        """Return the ways through a step of each, past the segments at its beginning whose digests are equal."""
        a, b = (group.entries if group is not None else () for group in (one, other))
        same = 0
        if self._sides[0].reader.level == self._sides[1].reader.level:
            while same < min(len(a), len(b)) and a[same].digest == b[same].digest:
                same += 1
        return Cursor(self._sides[0], a[same:], same), Cursor(self._sides[1], b[same:], same)

    # The records of a step

    def _walk(self, divergence: Divergence, a: Cursor, b: Cursor, *, only_first: bool = False) -> None:
        """Go through a step of each trace together, and note what differs."""
        self._parted = None
        while count := min(a.left(), b.left(), _AT_ONCE):
            if divergence.moment:
                same = common_prefix(a.texts(count), b.texts(count))
                unequal = self._unequal(a, b, np.arange(same), np.arange(same))
            else:
                same, count, unequal = self._until_parted(a, b, count)
            self._note_values(divergence, a, b, unequal, unequal)
            a.at += same
            b.at += same
            if same < count:
                self._note_records(divergence, a, b)
            if only_first and divergence.moment:
                return
            if same < count:
                self._realign(divergence, a, b)
        if a.left() or b.left():
            self._note_records(divergence, a, b)
        divergence.only_first += a.pass_all()
        divergence.only_second += b.pass_all()

    def _until_parted(self, a: Cursor, b: Cursor, count: int) -> tuple[int, int, np.ndarray]:
        """Return how many of the next records are the same ones, up to the first with another value; of how many; it.

        Where something differs, the runs may have parted before: at other lines of one file they may have done what
        looks alike, or one has done it once more. `_parted` is where they did, if not among these records.
        """
        same = common_prefix(a.keys(count), b.keys(count))
        unequal = self._unequal(a, b, np.arange(same), np.arange(same))
        end = start = int(unequal[0]) if len(unequal) else same
        is_apart = end < same and _are_apart(a.site(end), b.site(end))
        while start and _are_apart(a.site(start - 1), b.site(start - 1)):
            start -= 1
        if start:
            self._parted = None
        if self._parted is None and (start < end or is_apart):
            self._parted = a.moment(start), b.moment(start), a.total
        if end < same and not is_apart:
            self._parted = None
            return (end, count, _EMPTY) if _is_added(a, b, end) else (end + 1, end + 1, unequal[:1])
        return (same if end == count else start), count, _EMPTY

    def _realign(self, divergence: Divergence, a: Cursor, b: Cursor) -> None:
        """Pass what only one has, up to where both go on alike: by their lines, and where these leave it open without.

        Lines alone would not find what was only moved, or reworded; without them, any addition is like any other.
        """
        count_a, count_b = min(a.left(), _WINDOW), min(b.left(), _WINDOW)
        in_a, in_b = aligned([a.texts(count_a), a.keys(count_a)], [b.texts(count_b), b.keys(count_b)])
        alike = [not _are_apart(a.site(i), b.site(j)) for i, j in zip(in_a, in_b, strict=True)]
        in_a, in_b = in_a[alike], in_b[alike]
        unequal = self._unequal(a, b, in_a, in_b)
        self._note_values(divergence, a, b, in_a[unequal], in_b[unequal])
        divergence.realigned = divergence.realigned or len(in_a) > 0
        if len(in_a):
            # Behind the last that both have the partner may be farther ahead. Of what is left in these windows nothing
            # is alike, so that the next ones end elsewhere, and the time stays linear.
            count_a, count_b = int(in_a[-1]) + 1, int(in_b[-1]) + 1
        a.at += count_a
        b.at += count_b
        divergence.only_first += count_a - len(in_a)
        divergence.only_second += count_b - len(in_b)

    def _note_values(self, divergence: Divergence, a: Cursor, b: Cursor, in_a: np.ndarray, in_b: np.ndarray) -> None:
        """Note the same records that have other values, given how far ahead they are."""
        if not len(in_a):
            return
        moments = a.moment(int(in_a[0])), b.moment(int(in_b[0]))
        divergence.later_records += len(in_a) - (not divergence.moment)
        if not divergence.moment:
            divergence.first, divergence.second = moments
            divergence.values, divergence.records = differing_values(*moments), a.total
        elif not divergence.values:
            divergence.aligned = divergence.aligned or moments

    def _note_records(self, divergence: Divergence, a: Cursor, b: Cursor) -> None:
        """Note that the next records are not the same ones, if nothing differed before."""
        if not divergence.moment:
            first, second = (cursor.moment() if cursor.left() else None for cursor in (a, b))
            divergence.first, divergence.second, divergence.records = self._parted or (first, second, a.total)

    def _unequal(self, a: Cursor, b: Cursor, in_a: np.ndarray, in_b: np.ndarray) -> np.ndarray:
        """Return which of the same records have other values, given how far ahead they are."""
        if not len(in_a):
            return in_a
        in_a, in_b = a.at + in_a, b.at + in_b
        pairs = a.part.sites[in_a].astype(np.uint64) << np.uint64(32) | b.part.sites[in_b]
        distinct, which = np.unique(pairs, return_inverse=True)
        columns = [*map(self._columns, distinct.tolist())]
        lengths = np.array([len(first) for first, *_ in columns])
        ends, of_each = np.cumsum(lengths), lengths[which]
        # The columns of all pairs in a row, and for each value that is compared its place in there.
        places = np.arange(of_each.sum()) + np.repeat(ends[which] - np.cumsum(of_each), of_each)
        of_a, of_b = (
            np.repeat(cursor.part.starts[rows], of_each) + np.concatenate([pair[side] for pair in columns])[places]
            for side, (cursor, rows) in enumerate(((a, in_a), (b, in_b)))
        )
        unequal = np.array([types_differ for *_, types_differ in columns])[which]
        unequal[np.repeat(np.arange(len(in_a)), of_each)[a.part.hashes[of_a] != b.part.hashes[of_b]]] = True
        return self._read(a, b, in_a, in_b, np.flatnonzero(unequal))

    def _read(self, a: Cursor, b: Cursor, in_a: np.ndarray, in_b: np.ndarray, unequal: np.ndarray) -> np.ndarray:
        """Leave out what was written over before anything read it, unless what it drew changes a later draw."""
        unread = [a.part.indexes[in_a[i]] in a.unread and b.part.indexes[in_b[i]] in b.unread for i in unequal]
        if not any(unread):
            return unequal
        pairs = [(a.moment(in_a[i] - a.at), b.moment(in_b[i] - b.at)) for i in unequal]
        # The generators whose states differed before both records drew from them.
        apart = [[one.site.values[index] for index in differing_values(one, other)] for one, other in pairs]
        drawn = [{value.name for value in values if value.role == "generator"} for values in apart]
        live = {name for names, is_unread in zip(drawn, unread, strict=True) if not is_unread for name in names}
        keep = [not is_unread or bool(names & live) for names, is_unread in zip(drawn, unread, strict=True)]
        if not all(keep):
            first, second = pairs[keep.index(False)]
            self._overwritten = self._overwritten or Divergence(
                self._step, self._level, self._comparison.steps, first, second, differing_values(first, second), a.total
            )
        return unequal[keep]

    def _columns_of(self, pair: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return which values are compared of two sites (32 bits each), and whether some are of other types."""
        one, other = self._sides[0].reader.sites[pair >> 32], self._sides[1].reader.sites[pair & (1 << 32) - 1]
        both = np.array(corresponding(one, other), np.intp).reshape(-1, 2)
        types_differ = any(one.values[i].type != other.values[j].type for i, j in both)
        return both[:, 0], both[:, 1], types_differ

    # The steps after the first difference

    def _count_later(self, divergence: Divergence, *sources: Iterator[Group | None]) -> None:
        """Count the steps that differ, or that only one trace has; what an unfinished trace lacks says nothing."""
        waiting: tuple[dict[Step, Group], dict[Step, Group]] = {}, {}
        is_cut = [False, False]

        def lacking(side: int, step: Step) -> None:
            group = waiting[side].pop(step)
            if step == divergence.step or not is_cut[1 - side]:
                self._count(group)
                divergence.later_steps += step != divergence.step

        for side, group in chain.from_iterable(map(enumerate, zip_longest(*sources))):
            if group is None:
                is_cut[side] = self._sides[side].reader.footer is None
            elif group.ends_step and group.step in waiting[1 - side]:
                pair = group, waiting[1 - side].pop(group.step)
                self._count(group)
                if group.step != divergence.step:
                    divergence.later_steps += self._differ(*(pair[::-1] if side else pair))
            elif group.ends_step:
                waiting[side][group.step] = group
                if len(waiting[side]) > _FARTHEST_STEP:
                    lacking(side, next(iter(waiting[side])))
        is_cut[:] = (side.reader.footer is None for side in self._sides)  # also where both end at once
        for side in (0, 1):
            for step in list(waiting[side]):
                lacking(side, step)


def _are_apart(one: Site, other: Site) -> bool:
    """Return whether two sites are at other lines of one file."""
    return one.source == other.source != "" and one.place.rpartition(":")[2] != other.place.rpartition(":")[2]


def _is_added(a: Cursor, b: Cursor, ahead: int) -> bool:
    """Return whether one of two records has its like later in the other trace, as the texts of their lines say."""
    one, other = (cursor.texts(ahead + _WINDOW)[ahead:] for cursor in (a, b))
    if one[0] == other[0]:
        return False
    in_a, in_b = common_subsequence(one, other)
    return len(in_a) > 0 and in_a[0] != in_b[0] and 0 in (in_a[0], in_b[0])


def _same_values(one: Group, other: Group) -> bool | None:
    """Return whether two steps have the same at the level "values"; None where one was cut: digests do not tell it."""
    is_whole = len(one.entries) == len(other.entries) == 1
    return one.entries[0].values_digest == other.entries[0].values_digest if is_whole else None
