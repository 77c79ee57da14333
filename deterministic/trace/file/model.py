"""What a trace is made of: sites, records, segments and a header.

A *record* is one thing that happened: an operation that ran, a module that returned, a parameter as an optimizer step
left it. What is the same each time it happens (which operation, where, on what) is a *site*, stored once; a record is
the index of its site and one 64-bit number for each of the site's values. Records come in *segments*: everything up to
and including one step of one optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...values.numbers import hash_of_text

if TYPE_CHECKING:
    import numpy as np

TraceLevel = Literal["digest", "values", "modules", "ops", "ops+inputs"]

TRACE_LEVELS: tuple[TraceLevel, ...] = ("digest", "values", "modules", "ops", "ops+inputs")
"""From the least to the most; each contains those before it."""

Kind = Literal[
    "operation",
    "module",
    "input",
    "result",
    "state",
    "later state",
    "parameter",
    "gradient",
    "loss",
    "optimizer state",
    "batch",
    "observed",
    "returned",
]
"""What a record tells of.

`operation`: one that torch dispatched, or a compiled region. `module`: what a module returned, or the gradient of that.
`input`, `result`: what a module that is in no other was called with, and returned. `state`: a parameter or buffer when
its module is first met; `later state`: what of that has changed, but by a step, after a step and at the end.
`parameter`, `gradient`, `optimizer state`: as a step left them; a `gradient` also as a backward pass before the first
step of an optimizer left it. `loss`: the number that `backward()` was called on. `batch`: what a loader yielded.
`observed`: `Run.observe`. `returned`: what the traced function returned.
"""

LOWEST_LEVEL: Mapping[str, TraceLevel] = {"operation": "ops", "module": "modules"}
"""From which level on there are records of a kind; "values" for those that are not named."""

Role = Literal["generator", "number", "input", "output"]
"""What one of a record's hashes is of: the state of the generator that an operation drew from, a number that it was
given, a tensor that it read, a tensor that it wrote or that the record tells of."""

MOST_CALLERS = 3
"""How many lines are kept that led to the innermost one; the last is the user's own if none before it is."""

NO_OPTIMIZER = -1  # stands in place of an optimizer's number where a segment does not end with a step


OUTSIDE = "outside"  # no traced operation wrote it, and none has read it before: from numpy, a file, another process
EARLIER = "earlier"  # it was there before the recording began, whoever holds it
UNINITIALISED = "uninitialised"  # it was allocated and not, or not wholly, written since
THREAD = "thread"  # another thread wrote it
COLLECTIVE = "collective"  # a collective that was still under way wrote it
SEEN = ""
"""Where what an input held came from: the first words of its `Value.origin`."""

ASYNCHRONOUS = frozenset({"c10d", "c10d_functional", "_c10d_functional", "_c10d_functional_autograd"})
"""Collectives that return before the data is there."""

COLLECTIVES = ASYNCHRONOUS | {"symm_mem", "_dtensor"}  # namespaces of operations whose result depends on other ranks


class Value(NamedTuple):
    """What one hash of a record is of."""

    role: Role
    # "float32[128, 128]", with "/[1, 128]" where it is not contiguous and the device where it is not the CPU; for a
    # number "float", "int", "bool" or "text": its 64 bits stand in place of a hash, a text's hash does.
    type: str
    name: str = ""  # the parameter's name, the argument's, "default cpu" of a generator; may be empty
    # For an input where it came from, if no traced operation of this thread wrote it: `OUTSIDE` and the like. For a
    # generator of a replay its seed. Two runs may differ in it and agree in everything else.
    origin: str = ""


class Line(NamedTuple):
    """A line of code on the way to a record."""

    place: str = ""  # "models.py:17", or in a notebook "Cell In[3]:12"
    function: str = ""  # the name of the one that the line is in
    text: str = ""  # what stands there; "" if it is not kept or not at hand
    is_own: bool = False  # whether it is the innermost line of the user's own code, which is in no installed package


class Site(NamedTuple):
    """What the records of one place have in common.

    Two runs are at the same site if what is computed there is the same (`identity`), wherever its text stands.
    """

    kind: Kind
    name: str  # "aten.addmm.default"; the name of the parameter; what was observed
    phase: str = ""  # "forward", "backward", "recompute", "optimizer", or "" where it has none
    module: str = ""  # the path below the outermost module, "b.3.o"; "" for the outermost one, and outside of modules
    module_class: str = ""  # "Linear"; "" outside of modules
    root_class: str = ""  # the class of the outermost module, "GPT"; "" outside of modules
    # The innermost line outside of torch, "models.py:17"; for the backward phase that of the forward operation. "" if
    # unknown.
    place: str = ""
    function: str = ""  # the name of the function that the line is in
    node: str = ""  # of the backward phase: the autograd node, "AddmmBackward0"
    arguments: str = ""  # what the operation was given beside tensors and floats, as text: "dim=1, keepdim=False"
    text: str = ""  # what stands in the line; "" if it is not kept or not at hand
    # A digest of the file that the line is in: in two files with one digest a line number means one thing.
    source: str = ""
    callers: tuple[Line, ...] = ()  # the lines that led there, the innermost first, at most `MOST_CALLERS`
    values: tuple[Value, ...] = ()  # what the hashes of a record are of, in order

    @property
    def users_line(self) -> Line:
        """The innermost line of the user's own code; the innermost of all if none is known."""
        own = next((line for line in self.callers if line.is_own), None)
        return own or Line(self.place, self.function, self.text)

    def as_json(self) -> list[Any]:
        """Return the site as lists and strings, for `site_from_json`."""
        return [*self[:-2], *([list(one) for one in some] for some in self[-2:])]

    @property
    def identity(self) -> tuple[str, ...]:
        """What two runs must agree in to be at the same site, beside their values: what is computed, and in which part.

        Neither where the text of it stands, nor what classes and functions are called, which a commit may change.
        """
        if self.kind == "operation":
            name = "compiled" if self.name.startswith("compiled ") else self.name
        else:
            name = self.name.removeprefix(self.module_class)
        return self.kind, name, self.phase, self.module, self.node

    @property
    def key(self) -> int:
        """64 bits of what two runs must agree in to be at the same site; where inputs came from is none of it."""
        values = [(value.role, value.type, value.name) for value in self.values]
        return hash_of_text("\0".join([*self.identity, self.arguments, *("\1".join(value) for value in values)]))


class Step(NamedTuple):
    """Which segment this is, the same in every run."""

    # Optimizers are counted in the order of their first steps, from 0. `NO_OPTIMIZER` for what follows the last step of
    # all, and for what was cut off a segment that grew too long.
    optimizer: int
    number: int  # the number of the optimizer's step, from 0; with `NO_OPTIMIZER` the number of all steps until then
    part: int = 0  # 0, but for what was cut off: 1, 2, ... since the last step


class Segment(NamedTuple):
    """The records up to and including one step of one optimizer."""

    step: Step
    digest: bytes  # 16 bytes over all of its records, and their sites
    values_digest: bytes  # 16 bytes over those records alone that the level "values" has
    records: Sequence[int] | np.ndarray = ()  # the site of each, as an index; empty at the level "digest"
    hashes: Sequence[int] | np.ndarray = ()  # those of all records, one after the other, 0 <= hash < 2**64


def site_from_json(data: Any) -> Site:
    """Return the site that `Site.as_json` wrote; a ValueError says that it is none."""
    *texts, callers, values = data if isinstance(data, list) and len(data) == len(Site._fields) else [None, None, None]
    if not (all(isinstance(text, str) for text in texts) and isinstance(callers, list) and isinstance(values, list)):
        raise ValueError("not a site")
    if not all(map(partial(_has_types, types=(str,) * len(Value._fields)), values)):
        raise ValueError("not a value of a site")
    if not all(map(partial(_has_types, types=(str, str, str, bool)), callers)):
        raise ValueError("not a line of a site")
    return Site._make([*texts, tuple(Line(*line) for line in callers), tuple(Value(*value) for value in values)])


def _has_types(data: Any, types: tuple[type, ...]) -> bool:
    return isinstance(data, list) and tuple(map(type, data)) == types
