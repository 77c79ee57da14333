"""The contract of a source: one kind of process-global state that a scope saves, sets and gives back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from .config import Config

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"


SourceKind: TypeAlias = Literal["rng", "setting"]


def flat(data: Any, above: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted names that begin with `above`; a float that is not finite as text."""
    if isinstance(data, float) and not math.isfinite(data):
        return {above: str(data)}  # JSON has none, but 1e999 is read as one
    if not isinstance(data, Mapping):
        return {above: data}
    parts = [flat(value, f"{above}.{name}" if above else name) for name, value in data.items()]
    return {name: value for part in parts for name, value in part.items()}


class Limit(NamedTuple):
    """Something that could not be controlled, for the report.

    Attributes:
        subject: What it is about, for example "PYTHONHASHSEED".
        reason: Why it could not be controlled, one sentence.
        remedy: What the user can do, one sentence.
    """

    subject: str
    reason: str
    remedy: str


class Caught(NamedTuple):
    """Entropy that was drawn while a scope was open, for the report."""

    place: str  # the user's line, "train.py:12"
    what: str  # what drew it, for example "uuid.uuid4()"
    by: str  # the function of an installed package that the line calls; empty if it draws by itself
    seeded: bool  # whether the run's seed decided it after all


class Applied(NamedTuple):
    """What `Source.apply` did: the values that it set, what it could not; and what it has caught since, how often."""

    values: Mapping[str, JSON] = {}
    limits: tuple[Limit, ...] = ()
    caught: Mapping[Caught, int] = {}


NOTHING = Applied()  # what `apply` returns when the config asks nothing of a source


@runtime_checkable
class Source(Protocol):
    """One kind of process-global state: a random generator (`kind="rng"`) or a setting.

    A source holds no saved state: `capture` returns it, and whoever called keeps it. That is what makes nesting,
    recursion and suspension right. Sources are called under the scope's lock, one at a time.

    Attributes:
        name: Unique and stable, in the field's terms: "torch.cuda", "python.random".
        kind: On resume an "rng" is restored and a "setting" is compared.

    A source whose state is per thread also has `per_thread = True`: what a thread leaves behind when it ends is not
    given back to another.
    """

    name: str
    kind: SourceKind

    def capture(self) -> Any:
        """Return the state as it is now: immutable, and unaffected by later changes. Must change nothing."""

    def apply(self, config: Config) -> Applied:
        """Seed the generator or set the flags as `config` asks; return what was set. Nothing asked: `NOTHING`."""

    def restore(self, state: Any) -> None:
        """Put back exactly what `capture` returned, whatever happened since."""

    def describe(self, state: Any) -> Mapping[str, JSON]:
        """Render what `capture` returned as JSON; two states have equal descriptions only if they are equal."""


@runtime_checkable
class RngSource(Source, Protocol):
    """A source of kind "rng": its states also travel in `Run.state_dict()`, as plain values."""

    def encode(self, state: Any) -> Any:
        """Turn a state into tensors, numbers, strings, lists and dicts (what `torch.load(weights_only=True)` reads)."""

    def decode(self, plain: Any) -> Any:
        """Turn what `encode` gave back into a state.

        Every field, length and type is checked here, for the setters of libraries may not, and touches nothing.

        Raises:
            ResumeMismatchError: It does not fit this process (another device count, another bit generator).
            Exception: It is no state.
        """


def generators_among(sources: Iterable[Source]) -> list[RngSource]:
    """Return the sources that are generators.

    That they have the methods, `register_source` has seen: to ask the protocol takes as long as to read a generator.
    """
    return [cast("RngSource", source) for source in sources if source.kind == "rng"]
