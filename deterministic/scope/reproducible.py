"""`reproducible` and `seed_everything`: the scoped and the unscoped way to seed everything and set every flag."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, cast, overload

from ..errors import explain
from ..ground import launch
from ..ground.arguments import boolean
from ..ground.config import OMITTED, Config, Level, validate_level
from ..ground.imports import once_imported
from ..ground.seeds import validate_seed
from ..ground.synonyms import explained
from . import stack
from .request import Scope

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
R = TypeVar("R")
S = ParamSpec("S")

_NOT_CALLED = explain(
    "reproducible must be called first",
    ("found: reproducible without parentheses",),
    "Write `with reproducible(seed=42) as run:`, or `scope = reproducible(seed=42)` and then `scope.start()`.",
)


class _Reproducible(Generic[S]):
    """Seed every generator, set every determinism flag, and give everything back afterwards.

    As a context manager around a block, as a decorator of a function, or with `start()` and `stop()` in a notebook. A
    decorated function draws from the seed **at every call**: decorate the training run, not the training step.
    Generators, coroutines and async generators are decorated too: their state is put aside whenever they yield or
    await, so their caller is never affected.

    State it touches: everything in `deterministic.sources.SOURCES` is saved and restored; the seed seeds Python's
    `random`, `numpy.random` and torch on every device; `deterministic` decides which flags are set. For seeds below
    2**32 the draws are those of `random.seed(s)`, `numpy.random.seed(s)`, `torch.manual_seed(s)`; larger ones are
    passed whole to Python, and numpy and torch get seeds derived from all 64 bits. The functions that seed are replaced
    by ones that note who does, for `Run.report`.

    Thread-safety: the generators are the process's own. A second thread, or a second asyncio task with a plain `with`,
    that enters while a scope is open gets a `ScopeConflictError`; what other threads draw meanwhile mixes in.

    Args:
        seed: 0 <= seed < 2**64. Omitted: the enclosing scope's, else that of `seed_everything`, else that of
            `deterministic run`, else 42. None: isolate and restore without seeding.
        deterministic: False, seeds only; "cudnn"; True, deterministic algorithms, an op without one raises; "warn",
            it warns.
        generators: The user's own generators (`torch.Generator`, `numpy.random.Generator`, `numpy.random.RandomState`,
            `random.Random`): saved, each seeded by a key of its own, restored.
        num_threads: Threads that torch uses for one CPU operation inside; None leaves the number alone.
        per_rank: Derive a seed of its own for each rank (torch.distributed, else the variable RANK, else rank 0).
        on_conflict: "raise", or "wait" to queue behind another thread's scope.
        entropy: What is done where numbers come that no seed decides (`numpy.random.default_rng()`, `uuid.uuid4()`, a
            seed from the clock): "ignore"; "warn", once for each line; "raise", an EntropyError, before anything is
            drawn; "seed", unseeded generators of NumPy and Python begin with seeds of the run. Omitted: as the
            enclosing scope has it, else "ignore".
        enabled: False does nothing and costs nothing.

    Returns:
        A `Scope`; entering it gives a `Run`. With a function as its only argument, that function decorated.

    Raises:
        SeedError: The seed is of the wrong type or out of range.
        TypeError: Another argument is of the wrong type, or what is decorated cannot be.
        ValueError: Another argument has no meaning.
        ScopeConflictError: On entering: see above.
        EntropyError: Inside, with entropy="raise".

    Example:
        >>> import torch
        >>> from deterministic import reproducible
        >>> with reproducible(seed=42) as run:
        ...     first = torch.rand(1)
        >>> @reproducible(seed=42)
        ... def draw():
        ...     return torch.rand(1)
        >>> bool(draw() == first)
        True
    """

    def __init__(self, scope: Callable[S, Scope]) -> None:
        self._scope: Callable[..., Scope] = scope

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, *args: S.args, **options: S.kwargs) -> Scope: ...

    def __call__(self, *given: Any, **options: Any) -> Any:
        function, *more = given or (None,)
        if callable(function) or hasattr(function, "__get__"):  # or something else that stands in a class
            return self._scope(*((OMITTED, *more) if more else ()), **options)(function)
        return self._scope(*given, **options)

    if not TYPE_CHECKING:  # which says it, too

        def __enter__(self) -> NoReturn:
            raise TypeError(_NOT_CALLED)

        def __exit__(self, *_: object) -> None:
            """Be there, so that Python asks `__enter__`."""

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(_NOT_CALLED if name in ("start", "stop") else f"reproducible has no {name!r}")

    # For help(), `reproducible?` and completion, which would show (seed, **options).
    __signature__ = inspect.signature(Scope).replace(return_annotation="Scope")

    def __repr__(self) -> str:
        return "<deterministic.reproducible>"

    def from_config(
        self, config: Mapping[str, Any] | str | os.PathLike[str], *, key: str | None = None, **overrides: Any
    ) -> Scope:
        """Make a scope from a configuration: `seed`, `deterministic`, `deterministic_cudnn` and `entropy` of a mapping.

        Other keys are ignored. With neither a seed nor a level the scope does nothing and costs nothing; `seed: 0` is
        a seed. A config that gives a seed and no level means False; a level without a seed sets the flags alone.
        Of a YAML file nothing but these keys is made into objects, so that it may have the tags of other tools.

        Args:
            config: A mapping (OmegaConf's DictConfig is one), or the path of a .yaml, .yml or .json file.
            key: The section that has the keys, as a dotted path ("training", "run.training"); None: the top level.
            overrides: Arguments of `reproducible` that win over the file's, whose own value is then not looked at.

        Returns:
            A `Scope`.

        Raises:
            TypeError: A value is of the wrong type, or there is no mapping.
            ValueError: There is no such section, a key of ours is misspelt or stands in the file twice, two of them
                contradict each other, or the file is of another kind, not in UTF-8, or no valid YAML or JSON: with its
                line and column.
            SeedError: The seed is no seed.
            OSError: The file cannot be read.
            ImportError: The file is YAML, and PyYAML is not installed.

        Warns:
            NondeterminismWarning: There is no `seed` (nor `seed: null`), or no level, and another key looks like one.

        Example:
            >>> from deterministic import reproducible
            >>> reproducible.from_config({"seed": 0, "deterministic_cudnn": True, "lr": 0.1})
            reproducible(seed=0, deterministic='cudnn')
        """
        from .from_config import options_from, section_of, warn_of_other_levels, warn_of_other_seeds

        section = section_of(config, key)
        scope = Scope(**options_from(section, overrides))
        if "seed" not in overrides:
            warn_of_other_seeds(section, key)
        if "deterministic" not in overrides:
            warn_of_other_levels(section)
        return scope


reproducible = _Reproducible(Scope)

# Dynamo skips this package, from the moment at which it is imported: traced, `__enter__` would break the graph at the
# first lock, and warn about each function that dynamo cannot trace; skipped, it breaks once and runs as it is. Before
# the first entry, because a function that contains one may be compiled first.
once_imported("torch._dynamo.trace_rules", lambda trace_rules: cast(Any, trace_rules).add("deterministic"))
if "torch" in sys.modules:
    # Reading the sources now keeps the first entry short; without torch they wait for it, and importing stays light.
    from .. import sources as _sources  # noqa: F401


@explained("seed_everything(42, deterministic=True)")
def seed_everything(seed: int, *, deterministic: Level = False, workers: bool = True) -> torch.Generator:
    """Seed every generator of the process, for the first line of a script; nothing is given back.

    The unscoped form of `reproducible`: it touches the same sources, in the same way, and saves nothing. From then on
    it is the seed of what is given none outside of a scope: loaders and `reproducible()`. Inside a scope it reseeds the
    scope, which restores all the same, and is not remembered.

    Args:
        seed: 0 <= seed < 2**64.
        deterministic: The level, as for `reproducible`; by default flags are left alone.
        workers: Lightning's, and without an effect: the workers of `make_loader` are always seeded.

    Returns:
        torch's default CPU generator, as `torch.manual_seed` does.

    Raises:
        SeedError: The seed is of the wrong type or out of range; nothing was seeded.
        TypeError: `deterministic` names no level, or `workers` is no bool; nothing was seeded.

    Example:
        >>> seed_everything(42).initial_seed()
        42
    """
    config = Config(validate_seed(seed), validate_level(deterministic))
    boolean("workers", workers)
    if launch.seen is not None:
        launch.seen[config.seed] = None
    import torch

    from ..ground import snapshot
    from ..sources import SOURCES

    snapshot.apply(snapshot.capture(SOURCES), config)
    launch.times_seeded += 1
    if stack.innermost() is None:
        launch.remembered = config.seed
    return torch.default_generator
