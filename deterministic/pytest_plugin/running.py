"""The test that is running: its scope, and from which seed each part of it draws."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import CodeType
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import ScopeOrderWarning, explain
from ..ground.config import Config
from ..ground.launch import default_seed
from ..ground.seeds import derive_seed
from ..scope.interrupt import indivisible
from ..scope.refusals import explain_refusal
from .arguments import PluginOptions, arguments_of, validate_markers

if TYPE_CHECKING:
    from ..scope.entry import ScopeEntry, ScopeSite
    from ..scope.run import Run
    from .settings import Watch

WAY_OUT = (
    'To go on with a warning: @pytest.mark.reproducible(deterministic="warn"). '
    "To allow it in one place: with reproducible_run.allow_nondeterministic(): ..."
)


class Running:
    """The plugin that knows what is open for the test that is running; one test at a time.

    The scope is opened by the first fixture of the test's own, else before its body, and closed by the last finalizer
    of the test: inside are its fixtures and its body, outside are the fixtures that it shares with other tests.
    """

    def __init__(self, options: PluginOptions) -> None:
        self.options = options
        self.perform: Callable[[Callable[[], object]], object] = _call  # another where the body is to be recorded
        self.wider: set[str] = set()  # the names of all fixtures that controlled tests ask for
        self.refused: dict[str, str] = {}  # why a test is not to run, by its node id
        self._item: pytest.Item | None = None
        self._arguments: dict[str, Any] | None = None
        self._has_begun = False
        self._entry: ScopeEntry | None = None
        self._run: Run | None = None
        self._open_before: list[ScopeEntry] = []
        self._watch: Watch | None = None

    @property
    def is_controlled(self) -> bool:
        """Whether the test that is running has a scope, or is about to."""
        return self._arguments is not None and bool(self._arguments.get("enabled", True))

    @property
    def seed(self) -> int | None:
        """The seed of the scope that is open."""
        return None if self._entry is None else self._entry.config.seed

    # What pytest calls

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Refuse markers that are wrong before the first test runs; under pytest-xdist before the test itself runs."""
        for item in items:
            try:
                validate_markers(item)
            except pytest.UsageError as error:
                if not hasattr(config, "workerinput"):
                    raise
                # A worker of pytest-xdist that ends while it collects leaves nothing but an internal error behind.
                self.refused[item.nodeid] = str(error)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which fixtures controlled tests ask for: one that is not may be the first to have one set up."""
        for item in session.items:
            if item.nodeid not in self.refused and arguments_of(item, self.options) is not None:
                self.wider.update(getattr(item, "fixturenames", ()))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Enclose all that is done for a test, its reruns by other plugins too."""
        __tracebackhide__ = True
        self._item = item
        self._arguments = None if item.nodeid in self.refused else arguments_of(item, self.options)
        try:
            return (yield)
        finally:
            self._leave()  # where finalizers did not get their turn
            self._item = self._arguments = self._watch = None
            self._has_begun = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail a test whose marker was refused where pytest could not be ended for it, before anything is set up."""
        if item.nodeid in self.refused:
            pytest.fail(self.refused[item.nodeid], pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Set a fixture up from a seed of its own, whatever the order of tests and fixtures."""
        __tracebackhide__ = True
        with self._around(fixturedef, request):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Seed right before the body, inside of whatever the other plugins do before it.

        pytest-randomly seeds in the hook itself, after every wrapper of it; what is called last is `item.runtest`, for
        functions, `unittest` methods, doctests and items of other plugins alike.
        """
        __tracebackhide__ = True
        item.runtest = functools.partial(self._call, item.runtest)  # type: ignore[assignment, method-assign]
        try:
            return (yield)
        finally:
            del item.runtest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, Any, Any]:
        """Seed right before the fixtures of the test are torn down; again inside of what others seed."""
        __tracebackhide__ = True
        if self._entry is not None and self._item is not None:
            self._item.addfinalizer(functools.partial(self._seed, "teardown"))
        return (yield)

    def _around(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> AbstractContextManager[None]:
        if self._item is None:
            return nullcontext()
        if fixturedef.scope != "function":
            return self._wider(fixturedef, request)
        self._begin()
        return self._aside("fixture", *_key(fixturedef))

    def _call(self, body: Callable[[], object]) -> object:
        """Run the body of the test from the seed itself."""
        __tracebackhide__ = True
        self._begin()
        if self._entry is None or self._item is None:
            return self.perform(body)
        self._seed(*(["setUp"] if _seed_method(self._item, self._seed) else []))
        try:
            with _seeded_examples(self._item, self._seed):
                return self.perform(body)
        except RuntimeError as error:
            explain_refusal(error, WAY_OUT)
            raise

    def run(self) -> Run:
        """Return the run of the test, with a scope if it has none yet."""
        from ..scope.run import Run

        if self._run is None and self._arguments is None:  # by getfixturevalue, in a test without a marker
            self._arguments = dict(self.options.defaults)
            self._enter()
        return self._run or Run(None)

    def _begin(self) -> None:
        if self._has_begun or self._item is None:
            return
        self._has_begun = True
        self._item.addfinalizer(self._end)
        if self.options.leaks:
            from .settings import Watch

            config = self._item.config
            # pytest-randomly seeds before each phase: nothing of a test is left in the generators then
            is_reseeded = config.pluginmanager.hasplugin("randomly") and config.getoption("randomly_reset_seed", False)
            self._watch = Watch(generators=not is_reseeded)
        self._enter()

    def _end(self) -> None:
        watch, self._watch, self._has_begun = self._watch, None, False
        left_changed = ""
        try:
            self._leave()
        finally:
            if watch is not None:
                left_changed = watch.end()
        if left_changed:
            pytest.fail(left_changed, pytrace=False)

    @indivisible
    def _enter(self) -> None:
        if self._arguments is None or not self.is_controlled:
            return
        from ..scope import stack
        from ..scope.reproducible import reproducible

        self._open_before = stack.entries()
        self._entry = reproducible(**self._arguments).enter(_site(getattr(self._item, "function", None)))
        self._run = self._entry.run

    @indivisible
    def _leave(self) -> None:
        entry, self._entry, self._run = self._entry, None, None
        if entry is None:
            return
        from ..scope import stack

        left = [other for other in stack.entries() if other is not entry and other not in self._open_before]
        for other in reversed(left):
            stack.leave(other)
        stack.leave(entry)
        if left and self._item is not None:
            text = explain(
                "a test left a scope open; it was closed with the test's own",
                tuple(f"opened at {other.site}" for other in left),
                "Use `with` or the decorator, or call stop().",
            )
            self._item.warn(ScopeOrderWarning(text))

    def _seed(self, *path: str) -> None:
        """Seed every generator of the scope: with its seed, or with one derived for a part of the test."""
        if self._entry is None or self.seed is None:
            return
        config = Config(_derived(self.seed, *path) if path else self.seed)
        for source in self._entry.before:
            if source.kind == "rng":
                source.apply(config)

    @contextmanager
    def _aside(self, *path: str) -> Iterator[None]:
        """Draw from a derived seed, and let whoever asked (a fixture, the body) go on with its own numbers."""
        entry = self._entry
        if entry is None or entry.config.seed is None:
            yield
            return
        from ..ground import snapshot

        before = snapshot.capture(source for source in entry.before if source.kind == "rng")
        self._seed(*path)
        try:
            yield
        finally:
            if entry.is_open:
                snapshot.restore(before)

    @contextmanager
    def _wider(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[None]:
        """Set up a fixture that several tests share: from the seed of what they share, not from that of one test."""
        accepting: AbstractContextManager[None] = nullcontext() if self._watch is None else self._watch.accepting()
        arguments = arguments_of(request.node, self.options) or dict(self.options.defaults)
        is_enabled = arguments.get("enabled", True)
        if self._entry is None and not (is_enabled and fixturedef.argname in self.wider):
            with accepting:
                yield
            return
        if not is_enabled:  # asked for by name in the scope of a test, beyond which what it sets is to last
            arguments = {"seed": None, "deterministic": False}
        from ..scope.reproducible import reproducible
        from .settings import inside

        seed = arguments.get("seed", default_seed())
        if seed is not None:
            arguments["seed"] = _derived(seed, "fixture", *_key(fixturedef))
        with accepting, inside(reproducible(**arguments), _site(fixturedef.func), self._entry):
            yield


def _call(body: Callable[[], object]) -> object:
    __tracebackhide__ = True
    return body()


def _site(function: Any) -> ScopeSite:
    """Return where to say that a scope was entered: the first line of a test or a fixture; else here."""
    from ..scope.entry import DECORATED, ScopeSite

    code = getattr(inspect.unwrap(function), "__code__", None)
    if not isinstance(code, CodeType):
        code = sys._getframe().f_code
    return ScopeSite(code, code.co_firstlineno, DECORATED)


def _derived(seed: int, *path: str) -> int:
    # Below 2**32: from a larger seed `random` and `numpy.random` would draw the same numbers.
    return derive_seed(seed, *path) % 2**32


def _key(fixturedef: pytest.FixtureDef[Any]) -> tuple[str, str, str]:
    """Return what names a fixture wherever the suite is run from, and tells it from one that it overrides."""
    function = fixturedef.func
    module = getattr(function, "__module__", None) or ""
    return fixturedef.argname, module.rpartition(".")[2], getattr(function, "__qualname__", "")


def _seed_method(item: Any, seed: Callable[[], object]) -> bool:
    """Have a method of `unittest` seeded when it begins, since `setUp` runs in the same call; return whether it is."""
    instance, unittest = getattr(item, "instance", None), sys.modules.get("unittest")
    if unittest is None or not isinstance(instance, unittest.TestCase):
        return False
    method = item.obj
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def seeded_async(*args: Any, **kwargs: Any) -> Any:
            seed()
            return await method(*args, **kwargs)

        setattr(instance, item.name, seeded_async)
    else:
        item.obj = _seeded(method, seed)
    return True


@contextmanager
def _seeded_examples(item: pytest.Item, seed: Callable[[], object]) -> Iterator[None]:
    """Let every example of a Hypothesis test begin from the seed: Hypothesis itself seeds without torch."""
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    test = getattr(handle, "inner_test", None)
    if handle is None or test is None:
        yield
        return
    handle.inner_test = _seeded(test, seed)
    try:
        yield
    finally:
        handle.inner_test = test


def _seeded(function: Callable[..., Any], seed: Callable[[], object]) -> Callable[..., Any]:
    @functools.wraps(function)
    def seeded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        seed()
        return function(*args, **kwargs)

    return seeded
