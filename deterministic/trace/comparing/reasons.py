"""Why two traces differ: a closed list, and which of it the first difference shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ...ground.launch import HASH_SEED
from ..file import model
from ..file.model import COLLECTIVES, NO_OPTIMIZER, Role, Site
from .divergence import (
    Divergence,
    Moment,
    and_more,
    arguments_apart,
    corresponding,
    differing_values,
    in_both,
    types_apart,
)


class Reason(str, Enum):
    """Why two runs differ; closed, so that a program can tell them apart."""

    OPERATION = "operation"
    GENERATOR = "generator"
    NUMBER = "number"
    OUTSIDE = "outside data"
    UNTRACED_WRITE = "untraced write"
    UNINITIALISED = "uninitialised memory"
    CONTROL_FLOW = "control flow"
    COLLECTIVE = "collective"
    ENVIRONMENT = "environment"
    CARRIED_OVER = "carried over"
    THREAD = "another thread"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    """What the first difference shows."""

    reason: Reason
    because: str  # one sentence about this difference
    remedy: str  # what to do next


RANKS = "number of ranks"  # what an environment calls it

ORDERED = (Reason.CONTROL_FLOW, Reason.NUMBER, Reason.OUTSIDE)
"""What the order of a set may be behind, or a generator that is not torch's."""

_MAKES = re.compile(r"(arange|eye|fill|full|linspace|logspace|ones|range|scalar_tensor|zeros?)(_|_like)?")
"""Operations that read no tensor: what they return can only be theirs."""

_LENGTHS = re.compile(r"\w+ was (\d+ tensors?) in the first run, (\d+) tensors? in the second")

_NUMBERS = ("float", "int", "bool")
_PLACE_IN_EPOCH = ("epoch", "start within the epoch", "number")

_SEE_MORE = 'Record with level="ops+inputs" to see more.'
_FIND_NUMBER = "Find where it comes from: time, a counter, an unseeded generator, the order of a set."
_FIND_CONDITION = "Look for a condition on time, a counter, or the order of a set or a directory."
_SAME_WAY = (
    "This is not a fault: recomputing changes no value, and generated code may round differently. Compare two runs "
    "that both do it. If a first value is shown, it differs as well."
)
_FIND_DATA = (
    "Look at where it is made: numpy, a file, a loader, another library's generator. make_loader and run.numpy(name) "
    "give the same data every time."
)
CHECK_LOADER = (
    "loader.check() names the sample and its field if the dataset makes it anew each time: let it draw from random, "
    "numpy.random, torch or deterministic.sample_rng()."
)
_FIND_WRITER = "Look for .numpy(), .data_ptr(), a kernel of your own or another thread that writes it"
_SEED_IT = "Seed it: take run.generator(name), or pass it in reproducible(generators=[...])."
BUILD_IT = "Build it in the run itself, once the seed is set"
_FIND_DRAW = (
    "Seed it first: reproducible(seed=...), or `deterministic run`. If it is seeded, something drew from it before, "
    "and not the same in every run: look for a draw that depends on time, threads or another generator."
)


def cause_of(divergence: Divergence, environment: Mapping[str, tuple[Any, Any]], settings: Any = None) -> Cause:
    """Return why two traces differ, with the differences of their headers and what the first says of the settings."""
    if RANKS in environment:
        one, other = environment[RANKS]
        because = f"the runs had {one} and {other} ranks: each has another share of a batch, a sum or a parameter"
        return Cause(Reason.ENVIRONMENT, because, "Compare runs with the same number of ranks.")
    cause = _cause(divergence, settings if isinstance(settings, Mapping) else {})
    numeric = [name for name in environment if not name.endswith(HASH_SEED)]
    if len(numeric) < len(environment) and cause.reason in ORDERED:
        remedy = f"{HASH_SEED} differed, so sets of strings were in another order: sort them. Else: {cause.remedy}"
        return replace(cause, remedy=remedy)
    if numeric and cause.reason in (Reason.OPERATION, Reason.UNKNOWN):
        return Cause(
            Reason.ENVIRONMENT,
            f"the two runs had different environments ({and_more(numeric, 3)}), which alone can change the bits",
            "Run both with the same versions, settings and number of threads, and compare again.",
        )
    return cause


def _cause(divergence: Divergence, settings: Mapping[str, Any]) -> Cause:
    first, second = divergence.first, divergence.second
    if divergence.level == "digest":
        return _unknown('the level "digest" shows only the step', _SEE_MORE)
    if first is second is None:
        return Cause(Reason.CONTROL_FLOW, "the runs made steps of different optimizers there", _FIND_CONDITION)
    if first is None or second is None:
        because = f"the {'first' if first is None else 'second'} run has nothing there: it took another path, or ended"
        return Cause(Reason.CONTROL_FLOW, f"{because} earlier", _FIND_CONDITION)
    if not divergence.values:
        return _other_site(divergence, first, second, settings)
    if first.site.kind == "operation":
        return _operation(divergence, first, second, settings)
    return _no_operation(divergence, first, second)


def _other_site(divergence: Divergence, first: Moment, second: Moment, settings: Mapping[str, Any]) -> Cause:
    one, other = first.site, second.site
    for is_so, how in _WAYS:
        if is_so(one) != is_so(other):
            which = "first" if is_so(one) else "second"
            return Cause(Reason.CONTROL_FLOW, f"the {which} run {how}, the other does not", _SAME_WAY)
    if (
        one.identity != other.identity
        or (one.source == other.source and one.place != other.place)
        or one.key == other.key  # one run has done it once more
    ):
        places = [site.place or site.name for site in (one, other)]
        lines = f": {places[0]} in the first, {places[1]} in the second" if places[0] != places[1] else ""
        return Cause(Reason.CONTROL_FLOW, f"the runs did different things there{lines}", _FIND_CONDITION)
    if one.arguments != other.arguments:
        arguments = arguments_apart(one, other)
        if lengths := _LENGTHS.match(arguments):
            because = f"it was given {in_both(lengths[1], lengths[2])}"
            return Cause(Reason.CONTROL_FLOW, because, "Look at what fills that list.")
        return Cause(Reason.NUMBER, f"it was given other arguments: {arguments}", _FIND_NUMBER)
    apart = types_apart(one, other)
    if one.kind == "operation":
        differing = [index for index in differing_values(first, second) if one.values[index].role != "output"]
        if differing or one.name.startswith("aten.lift") or divergence.level == "ops+inputs":
            return _operation(replace(divergence, values=differing), first, second, settings, apart)
    elif one.kind in ("batch", "input", "state"):
        return _arrived(divergence, one.kind, apart)
    what = f"the runs did different things there{': ' if apart else ''}{apart}"
    return Cause(Reason.CONTROL_FLOW, what, _FIND_CONDITION)


_WAYS: Sequence[tuple[Callable[[Site], bool], str]] = (
    (
        lambda site: site.phase == "recompute",
        "computes a part of the forward pass again within the backward pass (activation checkpointing)",
    ),
    (lambda site: site.name.startswith("compiled "), "runs code there that torch.compile made"),
)
"""Ways to compute one thing, of which a run may take another: which records show it, and what it is."""


def _operation(
    divergence: Divergence, first: Moment, second: Moment, settings: Mapping[str, Any], apart: str = ""
) -> Cause:
    """Return why an operation wrote something else, from what it was given; `apart` says that it is of other types."""
    values = first.site.values

    def differing(role: Role) -> int | None:
        return next((index for index in divergence.values if values[index].role == role), None)

    if (index := differing("generator")) is not None:
        name = values[index].name
        because = f"the state of its generator ({name}) differed before the draw"
        return Cause(Reason.GENERATOR, because, _SEED_IT if name.startswith("own") else _FIND_DRAW)
    if (index := differing("number")) is not None:
        return _number(first, second, index)
    if (index := differing("input")) is not None:
        return _input(first, second, index)
    if first.site.name.startswith("aten.lift"):
        because = "the tensor was made of data from outside torch, and that data differed"
        return Cause(Reason.OUTSIDE, f"{because}: {apart}" if apart else because, _FIND_NUMBER)
    if first.site.name.partition(".")[0] in COLLECTIVES:
        return Cause(Reason.COLLECTIVE, f"this collective {_FROM_OTHERS}", _LOOK_AT_OTHERS)
    if divergence.level != "ops+inputs":
        because = "its inputs were not recorded: the operation may have given two results, or something bypassed torch"
        return _unknown(f"{because} and wrote to them", 'Record with level="ops+inputs" to find out.')
    basename = (*first.site.name.split("."), "")[1]  # "zeros" of "aten.zeros.default"
    if not _MAKES.fullmatch(basename) and all(value.role == "output" for value in values):
        return _unknown("nothing of what it read could be recorded", "Observe what it is called with.")
    because = "the operation gave two results for the same inputs, numbers and generator"
    return Cause(Reason.OPERATION, f"{because}: {apart}" if apart else because, _other_kernel(first, settings))


def _other_kernel(moment: Moment, settings: Mapping[str, Any]) -> str:
    if not moment.site.name.startswith("aten."):
        return "It is not one of torch's own, so no setting covers it: its kernel must be made deterministic."
    how = settings.get("torch.deterministic_algorithms")
    how = how if isinstance(how, Mapping) else {}
    if how.get("enabled") is False:
        return "Deterministic algorithms were off: turn them on, reproducible(deterministic=True)."
    if how.get("warn_only"):
        return "Deterministic algorithms were on with warn_only=True, which lets others run: pass warn_only=False."
    if how.get("enabled"):
        return (
            "Deterministic algorithms were on: a kernel that is not covered. Replace the operation, run it on one "
            "thread (num_threads=1) or on the CPU, and report it to PyTorch."
        )
    return "torch.use_deterministic_algorithms(True), which reproducible() sets; if it was set, another kernel."


def _number(first: Moment, second: Moment, index: int) -> Cause:
    other = second.number(dict(corresponding(first.site, second.site))[index])
    name = first.site.values[index].name or first.site.name or "what was returned"
    because = f"a Python number differed: {name} was {in_both(repr(first.number(index)), repr(other))}"
    return Cause(Reason.NUMBER, because, _FIND_NUMBER)


_FROM_OTHERS = "gave another result: what another rank sent differed, or how it was put together"
_LOOK_AT_OTHERS = "Look at the other ranks: the first difference is in the trace of one."
_ORIGINS = {
    model.UNINITIALISED: (
        Reason.UNINITIALISED,
        "it read uninitialised memory, allocated{at}",
        "Fill it: torch.zeros instead of torch.empty. (With deterministic algorithms on, torch fills it itself.)",
    ),
    model.THREAD: (
        Reason.THREAD,
        "another thread wrote what it read{at}, and nothing orders the two",
        "Join the thread or take a lock before the result is read, and give each thread an order of its own.",
    ),
    model.COLLECTIVE: (Reason.COLLECTIVE, f"a collective{{at}} {_FROM_OTHERS}", _LOOK_AT_OTHERS),
    model.EARLIER: (
        Reason.CARRIED_OVER,
        "{it} was there before the run began, and had changed{apart}",
        f"{BUILD_IT}.",
    ),
    model.OUTSIDE: (Reason.OUTSIDE, "{it} came from outside torch, and differed when it arrived{apart}", _FIND_DATA),
}
"""Why an input differed, by where it came from."""


def _input(first: Moment, second: Moment, index: int) -> Cause:
    value = first.site.values[index]
    other = second.site.values[dict(corresponding(first.site, second.site))[index]]
    origin, _, place = (value.origin or other.origin).partition(" ")
    at = f" at {place}" if place else ""
    apart = "" if value.type == other.type else f": {in_both(value.type, other.type)}"
    it = f"its input {value.name or value.type}"
    if origin in _ORIGINS:
        reason, because, remedy = _ORIGINS[origin]
        return Cause(reason, because.format(it=it, at=at, apart=apart), remedy)
    if apart:
        because = f"{it} was another part of what was computed, or in another shape{apart}"
        return Cause(Reason.CONTROL_FLOW, because, "Look at how it is reshaped: such views are not recorded.")
    because = (
        f"something bypassed torch's dispatcher and wrote to {it} after a recorded operation last wrote or read it, or "
        "it is another part of the same memory"
    )
    return Cause(Reason.UNTRACED_WRITE, because, f"{_FIND_WRITER}; or for another part of what unbind returned.")


# What is no operation


def _no_operation(divergence: Divergence, first: Moment, second: Moment) -> Cause:
    kind, index = first.site.kind, divergence.values[0]
    value = first.site.values[index]
    if kind == "batch" and value.name in _PLACE_IN_EPOCH:
        return _elsewhere(first, second)
    if kind == "state" and value.type in _NUMBERS:
        return _number(first, second, index)  # an option of an optimizer
    if kind in ("batch", "input", "state"):
        return _arrived(divergence, kind, f"{value.name} differed" if value.name else "")
    # A step of an optimizer has operations; where there are none, they were recorded around another step alone.
    is_step = divergence.step is not None and divergence.step.optimizer != NO_OPTIMIZER
    if divergence.level not in ("ops", "ops+inputs") or (is_step and not divergence.has_operations):
        return _unknown("operations were not recorded", _SEE_MORE)
    if kind != "loss" and value.type in _NUMBERS:
        return _number(first, second, index)
    if kind in ("parameter", "gradient", "loss", "optimizer state", "later state"):
        what = f"{kind} {value.name}".rstrip()
        because = f"something bypassed torch's dispatcher and wrote to the {what}: no recorded operation differs"
        return Cause(Reason.UNTRACED_WRITE, because, f"{_FIND_WRITER}.")
    if kind in ("observed", "returned") and "[" not in value.type:
        because = "nothing that torch computed differs: it came from numpy, another library or its threads"
        return Cause(Reason.OUTSIDE, because, _FIND_DATA)
    return _unknown("no recorded operation differs", "Observe more values.")


def _arrived(divergence: Divergence, kind: str, what: str) -> Cause:
    """Return why something differed that was there before anything was computed with it."""
    if kind == "batch":
        because = f"the loader yielded another batch: {what or 'its content differed'}"
        return Cause(
            Reason.OUTSIDE, because, f"{CHECK_LOADER} Else look at what the dataset is made of: a file, numpy."
        )
    if divergence.level not in ("ops", "ops+inputs"):
        first_used = "model's input" if kind == "input" else "state that was first used there"
        return _unknown(f"the {first_used} differed, and what made it was not recorded", _SEE_MORE)
    if kind == "state":
        return _carried_over(f"{what or 'a state'} when it was first used: it was made or changed before")
    return Cause(Reason.OUTSIDE, "the data differed when it arrived" + (f": {what}" if what else ""), _FIND_DATA)


def _elsewhere(first: Moment, second: Moment) -> Cause:
    """Return why a loader was elsewhere: it began there, or has yielded more."""
    one, other = (
        {value.name: moment.number(index) for index, value in enumerate(moment.site.values)}
        for moment in (first, second)
    )
    places = [name for name in _PLACE_IN_EPOCH if one.get(name) != other.get(name)]
    moved = ", ".join(f"{name} was {in_both(one[name], other[name])}" for name in places)
    if one.get("number") == other.get("number") == 0:
        return _carried_over(f"the loader began elsewhere: {moved}")
    return Cause(Reason.CONTROL_FLOW, f"the loader was elsewhere: {moved}", _FIND_CONDITION)


def _carried_over(because: str) -> Cause:
    return Cause(Reason.CARRIED_OVER, because, f"{BUILD_IT}.")


def _unknown(because: str, remedy: str) -> Cause:
    return Cause(Reason.UNKNOWN, because, remedy)
