"""The handle that a scope gives its body: named streams, derived seeds, the state of the generators, the report."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

from ..errors import DeterministicError, ResumeMismatchError, SeedError
from ..ground import snapshot
from ..ground.arguments import count
from ..ground.config import Config, Level
from ..ground.ranks import current_rank
from ..ground.seeds import derive_seed
from ..trace.recording.seeding import ACTIVE
from . import stack
from .entry import ScopeEntry, ScopeSite
from .interrupt import indivisible

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..ground.snapshot import Snapshot
    from ..ground.source import RngSource
    from ..provenance.manifest import Manifest
    from .report import ScopeReport

_STATE_VERSION = 1
_MADE_OUTSIDE = "Made outside of this scope, it goes on with its own epochs: make it inside, or call set_epoch first."


class Described(Protocol):
    """Something that the report tells of."""

    def describe(self) -> dict[str, Any]:
        """Return what is to be said, as JSON."""


class Run:
    """What `with reproducible(...) as run` gives: one entry into a scope.

    Not thread-safe: the generators that it speaks of are the process's own.
    """

    def __init__(self, entry: ScopeEntry | None) -> None:
        self._entry = entry
        self._torch_streams: dict[tuple[str, str], torch.Generator] = {}
        self._numpy_streams: dict[str, np.random.Generator] = {}
        self.loaders: list[Described] = []
        """What the loaders that were made or iterated in this scope say of themselves."""
        self._made_here: list[Described] = []
        # By line: the last loader's record, by what it is known, its latest epoch, and whether it was told.
        self.begun_loaders: dict[str, Any] = {}

    def __repr__(self) -> str:
        if self._entry is None:
            return "<Run: not enabled>"
        state = "open" if self._entry.is_open else "closed"
        return f"<Run: seed={self.seed}, deterministic={self.deterministic!r}, {state}, from {self._entry.site}>"

    @property
    def seed(self) -> int | None:
        """The effective seed, 0 <= seed < 2**64 (with `per_rank`, this rank's own); None if nothing was seeded."""
        return None if self._entry is None else self._entry.config.seed

    @property
    def deterministic(self) -> Level:
        """The level that was applied."""
        return False if self._entry is None else self._entry.config.deterministic

    def derive(self, *path: SupportsIndex | str) -> int:
        """Derive a seed from this run's: `derive_seed(run.seed, *path)`.

        Args:
            path: What it is for; strings and integers.

        Returns:
            A seed, 0 <= seed < 2**64, the same in every process.

        Raises:
            SeedError: The scope has no seed.
        """
        if self.seed is None:
            raise SeedError(
                "this scope has no seed to derive from",
                (f"found: seed=None at {self._entry.site if self._entry else 'a scope that is not enabled'}",),
                "Give the scope a seed, for example reproducible(seed=42).",
            )
        return derive_seed(self.seed, *path)

    def generator(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """Return the torch generator of the stream `name`, for example for a train/validation split.

        Its draws depend on the run's seed and the name alone, not on what else was drawn. Asked for again, it is the
        same object and goes on where it was; `state_dict` saves it. Touches no global generator.

        Args:
            name: The stream.
            device: Where it draws; each device has a stream of its own.

        Raises:
            SeedError: The scope has no seed.
        """
        import torch

        stream = torch.Generator(device)
        key = name, str(stream.device)  # with its index: "cuda" and "cuda:0" are one stream
        if key not in self._torch_streams:
            self._torch_streams[key] = stream.manual_seed(self.derive("torch", *key))
        return self._torch_streams[key]

    def numpy(self, name: str) -> np.random.Generator:
        """Return the numpy generator (PCG64) of the stream `name`; as `generator`, for numpy.

        Args:
            name: The stream.

        Raises:
            SeedError: The scope has no seed.
        """
        if name not in self._numpy_streams:
            import numpy as np

            self._numpy_streams[name] = np.random.Generator(np.random.PCG64(self.derive("numpy", name)))
        return self._numpy_streams[name]

    def report(self) -> ScopeReport:
        """Return what this scope set, what it could not control and the remedy, and the versions; also once closed."""
        from .report import ScopeReport

        loaders = []
        for loader in self.loaders:
            facts = loader.describe()
            facts["notes"] = [*facts["notes"], *([] if loader in self._made_here else [_MADE_OUTSIDE])]
            loaders.append(facts)
        return ScopeReport.of(self._entry, loaders)

    def manifest(self, *, packages: bool = True, code: bool = True, data: Mapping[str, Any] | None = None) -> Manifest:
        """Return what this run is, or was once closed: `deterministic.manifest`, with what this scope asked for.

        Beside that it has what the level set ("requested."), the workers of the loaders, and digests of the generators:
        before the scope seeded them ("before."), and now ("generators."). Once closed, the settings are those with
        which it began, and the generators are not known: call it at the end of the block to have what they came to.

        Args:
            packages: Whether to list the imported packages with their versions, which takes about 100 ms.
            code: Whether to tell the commit, and the digest of the script.
            data: Data sets by name, to be read sample by sample for a digest each.

        Raises:
            DeterministicError: A data set cannot be read, or a sample has no digest.
        """
        from ..provenance.collecting import of_scope

        facts: dict[str, Any] = {}
        settings: dict[str, Any] | None = None
        if (entry := self._entry) is not None:
            facts, settings, unknown = {"before": {}, "requested": {}, "generators": None}, {}, {}
            for (source, state), applied in zip(entry.before.items(), entry.applied, strict=True):
                described = dict(source.describe(state))
                if source.kind == "rng":
                    facts["before"][source.name] = described
                    continue
                facts["requested"][source.name] = applied.values
                settings[source.name] = {**described, **applied.values}
                if not applied.values.keys() <= described.keys():
                    settings[source.name] = None
                    unknown[source.name] = "the scope is closed: set when it was imported, if it was"
            if entry.is_open:
                settings = None  # they may have been set again since
                facts["generators"] = {one.name: one.describe(one.capture()) for one in self._generators()}
            else:
                facts["reason.settings"] = unknown
        workers = {loader.describe()["num_workers"] for loader in self.loaders}
        facts["num_workers"] = sorted(workers) or None
        config = Config() if entry is None else entry.config
        return of_scope(config, facts, settings, packages=packages, code=code, data=data)

    def observe(self, name: str, value: Any) -> None:
        """Have a value compared by `verify` and recorded by `record`: a loss, a prediction, an accuracy.

        It is added to every trace that is being recorded on this thread; with none it costs nothing.

        Args:
            name: What it is called in a verdict; the same name may come any number of times.
            value: Anything that `fingerprint` takes: a tensor, a number, an array, containers of these; a container
                that contains itself raises ValueError.
        """
        for recorder in ACTIVE:
            recorder.observe(name, value)

    def note_loader(self, loader: Described, *, made_here: bool = False) -> None:
        """Let the report tell of a loader that was made or iterated in this scope; loaders call it.

        Args:
            loader: What it says of itself.
            made_here: Whether it was made in this scope.
        """
        if made_here:
            self._made_here.append(loader)
        if loader not in self.loaders:
            self.loaders.append(loader)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every generator: the global ones, the scope's own, and this run's streams.

        The state is that of now, also where another scope is open inside this one. Tensors, numbers, strings, lists
        and dicts: `torch.load(weights_only=True)` reads it. Reads only.

        Raises:
            DeterministicError: The scope is closed.
        """
        from ..sources import ENTROPY
        from ..sources.base import to_plain

        own = {"rank": current_rank()} if self._is_of_one_rank else {}
        return {
            "version": _STATE_VERSION,
            **own,
            "rng": {source.name: source.encode(source.capture()) for source in self._generators()},
            "torch_streams": [[*key, stream.get_state()] for key, stream in self._torch_streams.items()],
            "entropy": ENTROPY.reached(),
            "numpy_streams": [[name, to_plain(made.bit_generator.state)] for name, made in self._numpy_streams.items()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put every generator where `state_dict` found it.

        If anything does not fit, nothing is moved. Settings are not touched. A stream that was first asked for after
        the state was saved goes back to its beginning.

        Args:
            state_dict: What `state_dict` returned, in this process or another.

        Raises:
            ResumeMismatchError: It does not fit this process: other sources, devices or bit generators; or, with
                `per_rank`, another rank's.
            DeterministicError: The scope is closed.
        """
        states, torch_streams, numpy_streams = decoded(self, state_dict)
        self._require_own(state_dict.get("rank"))
        from ..sources import ENTROPY
        from ..sources.own_generators import OwnGenerator

        streams: list[tuple[Any, Any]] = [(self.generator(*key), state) for key, state in torch_streams.items()]
        streams += [(self.numpy(name), state) for name, state in numpy_streams.items()]
        snapshot.move({**states, **{OwnGenerator(stream, 0): state for stream, state in streams}})
        ENTROPY.go_on(state_dict.get("entropy", {}))

    def allow_nondeterministic(self) -> OptOut:
        """Switch deterministic algorithms off for a `with` block, for one operation (pytorch/pytorch#126164).

        The generators and everything else stay as the scope set them. Closed in any order, it gives back what was.

        Example:
            >>> from deterministic import reproducible
            >>> import torch
            >>> with reproducible(seed=0) as run:
            ...     with run.allow_nondeterministic():
            ...         torch.are_deterministic_algorithms_enabled()
            False
        """
        return OptOut(self, "ALGORITHMS", allow_nondeterministic=True)

    def allow_entropy(self) -> OptOut:
        """Watch for no entropy in a `with` block: where a number is meant to be another one each time, as a run's id.

        Everything else stays as the scope set it. Closed in any order, it gives back what was.

        Example:
            >>> from deterministic import reproducible
            >>> import uuid
            >>> with reproducible(seed=0, entropy="raise") as run:
            ...     with run.allow_entropy():
            ...         name = uuid.uuid4()
        """
        return OptOut(self, "ENTROPY", entropy="ignore")

    @property
    def _is_of_one_rank(self) -> bool:
        return self._entry is not None and self._entry.config.seed_of_all_ranks is not None

    def _require_own(self, rank: int | None) -> None:
        """Refuse what another rank saved, where each has its own seed: frameworks save objects on rank 0 alone."""
        if rank is None or not self._is_of_one_rank or rank == current_rank():
            return
        raise ResumeMismatchError(
            "the generators were saved by another rank, and with per_rank=True each rank has its own",
            (f"saved by: rank {rank}", f"here: rank {current_rank()}"),
            "Save them on each rank, as Checkpoint does. Where a framework saves objects on rank 0 alone (Accelerate, "
            "Ignite), leave the run out; Accelerate saves the generators of each rank by itself.",
        )

    def _generators(self) -> list[RngSource]:
        from ..ground.source import generators_among

        if self._entry is None or not self._entry.is_open:
            raise DeterministicError(
                "the generators are no longer this run's: its scope is not open",
                (f"found: {self!r}",),
                "Call this inside the `with` block or the decorated function.",
            )
        return generators_among(self._entry.before)


class OptOut:
    """`run.allow_nondeterministic()` or `allow_entropy()`: an entry of its own that covers one source alone."""

    def __init__(self, run: Run, source: str, **asked: Any) -> None:
        self._run, self._source, self._asked = run, source, asked
        self._open: list[ScopeEntry] = []

    @indivisible
    def __enter__(self) -> Run:
        from .. import sources

        asked = Config() if self._run._entry is None else self._run._entry.config
        config = asked._replace(**self._asked)
        site = ScopeSite.of(sys._getframe(1))
        if self._run._entry is not None and config.allow_nondeterministic:
            self._run._entry.opt_outs[str(site)] = None
        only = (getattr(sources, self._source),)
        self._open.append(stack.enter(self, config, site, only=only, run=lambda entry: self._run))
        return self._run

    @indivisible
    def __exit__(self, *exc_info: object) -> None:
        stack.leave(self._open.pop())


def decoded(run: Run, state_dict: Any) -> tuple[Snapshot, dict[tuple[str, str], Any], dict[str, Any]]:
    """Return the states in what `Run.state_dict` returned: of the sources, torch's streams, numpy's. Moves nothing."""
    from ..sources.own_generators import OwnGenerator

    sources = run._generators()
    if not isinstance(state_dict, dict) or state_dict.get("version") != _STATE_VERSION:
        raise ResumeMismatchError(
            "this version cannot read this as the state of a run",
            (f"found: {type(state_dict).__name__}", f"expected: a dict with version {_STATE_VERSION}"),
            "Pass what Run.state_dict() returned.",
        )
    states = snapshot.decode(state_dict.get("rng"), sources)
    fresh = Run(run._entry)  # one that did not exist when it was saved goes back to its beginning
    with snapshot.fitting():
        for number in state_dict.get("entropy", {}).values():
            count("entropy", number)
        torch_streams = {key: fresh.generator(*key).get_state() for key in run._torch_streams}
        for name, device, plain in state_dict["torch_streams"]:
            stream = fresh.generator(name, device)
            torch_streams[name, str(stream.device)] = OwnGenerator(stream, 0).decode(plain)
        numpy_streams: dict[str, Any] = {name: fresh.numpy(name).bit_generator.state for name in run._numpy_streams}
        for name, plain in state_dict["numpy_streams"]:
            numpy_streams[name] = OwnGenerator(fresh.numpy(name), 0).decode({"bit_generator": "PCG64", **plain})
    return states, torch_streams, numpy_streams


def current_run() -> Run:
    """Return the run of the innermost open scope.

    Raises:
        DeterministicError: No scope is open.
    """
    entry = stack.innermost()
    if entry is None:
        raise DeterministicError(
            "no scope is open, so there is no current run",
            ("found: code outside of reproducible()",),
            "Call it inside `with reproducible(...)` or a decorated function.",
        )
    run: Run = entry.run
    return run
