"""Differences of two runs that each show a reason: what an operation was given, and what it wrote."""

from __future__ import annotations

from typing import Any

from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.file.model import TraceLevel
from tests.trace.runs import Part, Rec, number, op, part, rec


def read(bits: int, origin: str = "", name: str = "self", type: str = "float32[2]") -> Part:
    return part("input", bits, type, name, origin)


OUTSIDE = "outside"
UNINITIALISED = "uninitialised train.py:3"
EPOCH = ("epoch", "start within the epoch", "number", "content")


def batch(*values: int) -> Rec:
    """A batch: of which epoch, where it started, how many there were before, its content."""
    parts = [
        part("output", bits, "int" if name != "content" else "float32[2]", name)
        for name, bits in zip(EPOCH, values, strict=True)
    ]
    return rec("batch", "of a loader", *parts)


def weights(kind: Any, bits: int, type: str = "float32[2]", name: str = "weight") -> Rec:
    return rec(kind, "SGD", part("output", bits, type, name))


OPERATIONS: dict[str, tuple[Reason, Rec | None, Rec | None, TraceLevel, str, str]] = {
    # What differs: the reason, both records, the level, a piece of what is said, and of the remedy.
    "two answers": (
        Reason.OPERATION,
        op(1, "mm", read(5)),
        op(2, "mm", read(5)),
        "ops+inputs",
        "two results for the same inputs",
        "use_deterministic_algorithms",
    ),
    "two answers to a number": (
        Reason.OPERATION,
        op(1, "x", number(2.0)),
        op(2, "x", number(2.0)),
        "ops+inputs",
        "two",
        "",
    ),
    "two shapes for one question": (
        Reason.OPERATION,
        op(1, "nonzero", read(5), type="int64[2]"),
        op(1, "nonzero", read(5), type="int64[3]"),
        "ops+inputs",
        ": output was int64[2] in the first run, int64[3] in the second",
        "",
    ),
    "a factory": (Reason.OPERATION, op(1, "zeros.default"), op(2, "zeros.default"), "ops+inputs", "two results", ""),
    "a draw from one state": (
        Reason.OPERATION,
        op(1, "rand", part("generator", 5, "state", "default cpu")),
        op(2, "rand", part("generator", 5, "state", "default cpu")),
        "ops+inputs",
        "for the same inputs, numbers and generator",
        "",
    ),
    "nothing that it read": (Reason.UNKNOWN, op(1, "sum"), op(2, "sum"), "ops+inputs", "could be recorded", "Observe"),
    "inputs not recorded": (
        Reason.UNKNOWN,
        op(1, "mm", read(5)),
        op(2, "mm", read(5)),
        "ops",
        "not recorded",
        "ops+inputs",
    ),
    "the default generator": (
        Reason.GENERATOR,
        op(1, "rand", part("generator", 5, "state", "default cpu")),
        op(2, "rand", part("generator", 6, "state", "default cpu")),
        "ops",
        "its generator (default cpu) differed before the draw",
        "Seed it first",
    ),
    "a generator of its own": (
        Reason.GENERATOR,
        op(1, "rand", part("generator", 5, "state", "own cpu"), read(1)),
        op(2, "rand", part("generator", 6, "state", "own cpu"), read(2)),
        "ops+inputs",
        "(own cpu)",
        "Seed it",
    ),
    "a float": (
        Reason.NUMBER,
        op(1, "mul", read(5), number(1.5)),
        op(2, "mul", read(5), number(2.5)),
        "ops",
        "other was 1.5 in the first run, 2.5 in the second",
        "time, a counter",
    ),
    "an int": (
        Reason.NUMBER,
        op(1, "x", number(-3)),
        op(1, "x", number(4)),
        "ops",
        "other was -3 in the first run, 4",
        "",
    ),
    "a bool": (Reason.NUMBER, op(1, "x", number(True)), op(1, "x", number(False)), "ops", "other was True in the", ""),
    "a nan": (Reason.NUMBER, op(1, "x", number(float("nan"))), op(1, "x", number(1.0)), "ops", "other was nan in", ""),
    "an argument": (
        Reason.NUMBER,
        op(1, "sum", arguments="dim=(0, 1), keepdim=False, dtype=torch.float32"),
        op(1, "sum", arguments="dim=(0, 2), keepdim=False, out=3"),
        "ops",
        "other arguments: dim was (0, 1) in the first run, (0, 2) in the second, dtype was torch.float32 in the first "
        "run, not given in the second, out was not given in the first run, 3 in the second",
        "time, a counter",
    ),
    "data from outside": (
        Reason.OUTSIDE,
        op(1, "mm", read(5, OUTSIDE)),
        op(2, "mm", read(6, OUTSIDE)),
        "ops",
        "its input self came from outside torch",
        "make_loader",
    ),
    "data from outside that only the second knows as such": (
        Reason.OUTSIDE,
        op(1, "mm", read(5)),
        op(2, "mm", read(6, OUTSIDE)),
        "ops+inputs",
        "came from outside torch",
        "",
    ),
    "data of another shape": (
        Reason.OUTSIDE,
        op(1, "mm", read(5, OUTSIDE)),
        op(2, "mm", read(6, OUTSIDE, type="float32[3]"), type="float32[3]"),
        "ops",
        "arrived: float32[2] in the first run, float32[3] in the second",
        "",
    ),
    "torch.tensor": (
        Reason.OUTSIDE,
        op(1, "lift_fresh"),
        op(2, "lift_fresh"),
        "ops",
        "the tensor was made of data from outside torch",
        "",
    ),
    "torch.tensor of more": (
        Reason.OUTSIDE,
        op(1, "lift_fresh"),
        op(1, "lift_fresh", type="float32[3]"),
        "ops",
        "output was float32[2] in the first run, float32[3] in the second",
        "",
    ),
    "a model's input": (
        Reason.OUTSIDE,
        rec("input", "GPT", part("output", 1)),
        rec("input", "GPT", part("output", 2)),
        "ops",
        "the data differed when it arrived",
        "make_loader",
    ),
    "a model's input of another shape": (
        Reason.OUTSIDE,
        rec("input", "GPT", part("output", 1)),
        rec("input", "GPT", part("output", 1, "float32[3]")),
        "ops",
        "output was float32[2] in the first run, float32[3] in the second",
        "",
    ),
    "a batch": (Reason.OUTSIDE, batch(0, 0, 3, 7), batch(0, 0, 3, 8), "values", "content differed", "loader.check()"),
    "a write past the dispatcher": (
        Reason.UNTRACED_WRITE,
        op(1, "mm", read(5, name="mat2 fc.weight")),
        op(2, "mm", read(6, name="mat2 fc.weight")),
        "ops+inputs",
        "bypassed torch's dispatcher and wrote to its input mat2 fc.weight",
        ".numpy()",
    ),
    "a parameter written past it": (
        Reason.UNTRACED_WRITE,
        weights("parameter", 1),
        weights("parameter", 2),
        "ops",
        "wrote to the parameter weight:",
        ".numpy()",
    ),
    "a gradient written past it": (
        Reason.UNTRACED_WRITE,
        weights("gradient", 1),
        weights("gradient", 2),
        "ops",
        "wrote to the gradient weight:",
        "",
    ),
    "an optimizer's state written past it": (
        Reason.UNTRACED_WRITE,
        weights("optimizer state", 1),
        weights("optimizer state", 2),
        "ops",
        "wrote to the optimizer state weight:",
        "",
    ),
    "an optimizer's option": (
        Reason.NUMBER,
        rec(
            "optimizer state",
            "SGD",
            number(0.5, "lr of group 0")._replace(value=part("output", 0, "float", "lr of group 0").value),
        ),
        rec(
            "optimizer state",
            "SGD",
            number(0.25, "lr of group 0")._replace(value=part("output", 0, "float", "lr of group 0").value),
        ),
        "ops",
        "lr of group 0 was 0.5 in the first run, 0.25 in the second",
        "",
    ),
    "uninitialised memory": (
        Reason.UNINITIALISED,
        op(1, "abs", read(5, UNINITIALISED)),
        op(2, "abs", read(6, UNINITIALISED)),
        "ops",
        "it read uninitialised memory, allocated at train.py:3",
        "torch.zeros",
    ),
    "another thread": (
        Reason.THREAD,
        op(1, "abs", read(5, "thread train.py:4")),
        op(2, "abs", read(6, "thread train.py:4")),
        "ops",
        "another thread wrote what it read at train.py:4",
        "Join",
    ),
    "a collective": (
        Reason.COLLECTIVE,
        op(1, "abs", read(5, "collective train.py:4")),
        op(2, "abs", read(6, "collective train.py:4")),
        "ops",
        "a collective at train.py:4",
        "other ranks",
    ),
    "a collective that was waited for": (
        Reason.COLLECTIVE,
        rec("operation", "c10d.allreduce_.default", read(5), part("output", 1)),
        rec("operation", "c10d.allreduce_.default", read(5), part("output", 2)),
        "ops",
        "this collective gave another result",
        "other ranks",
    ),
    "what this rank gave to a collective": (
        Reason.OUTSIDE,
        rec("operation", "c10d.broadcast_.default", read(5, OUTSIDE), part("output", 1)),
        rec("operation", "c10d.broadcast_.default", read(6, OUTSIDE), part("output", 2)),
        "ops",
        "came from outside torch",
        "",
    ),
    "a list of another length": (
        Reason.CONTROL_FLOW,
        op(1, "cat", arguments="tensors=3 tensors, dim=1"),
        op(2, "cat", arguments="tensors=4 tensors, dim=1"),
        "ops+inputs",
        "it was given 3 tensors in the first run, 4 in the second",
        "list",
    ),
    "an index": (
        Reason.NUMBER,
        rec("operation", "aten.select.int", number(12, "index")),
        rec("operation", "aten.select.int", number(37, "index")),
        "ops",
        "a Python number differed: index was 12 in the first run, 37 in the second",
        "",
    ),
}
