"""torch.compile over and under scopes: the results of eager mode, everything given back, recompiles counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import torch

from deterministic import reproducible

from .compiling import Counting
from .streams import no_scope_is_open
from .versions import needs_traced_generators


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """Import what torch.compile imports, before the canary looks."""
    import torch._dynamo
    import torch._inductor.config  # noqa: F401


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., torch.Tensor], **options: Any) -> tuple[Callable[..., torch.Tensor], Counting]:
    backend = Counting()
    return torch.compile(function, backend=backend, **options), backend


def noise(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + torch.rand(3)


@reproducible(seed=1)
def decorated(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + torch.rand(3)


@reproducible(seed=1)
def decorated_generator(x: torch.Tensor) -> Generator[torch.Tensor, None, None]:
    yield x * 2
    yield torch.rand(3)


def with_a_block(x: torch.Tensor) -> torch.Tensor:
    before = x * 2
    with reproducible(seed=1):
        inside = before + torch.rand(3)
    return inside + 1


class Model(torch.nn.Module):
    @reproducible(seed=1)
    def method(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 + torch.rand(3)

    @classmethod
    @reproducible(seed=1)
    def class_method(cls, x: torch.Tensor) -> torch.Tensor:
        return x * 2 + torch.rand(3)

    @reproducible(seed=1)
    @classmethod
    def class_method_above(cls, x: torch.Tensor) -> torch.Tensor:
        return x * 2 + torch.rand(3)

    @staticmethod
    @reproducible(seed=1)
    def static_method(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + torch.rand(3)

    @reproducible(seed=1)
    def generator(self, x: torch.Tensor) -> Generator[torch.Tensor, None, None]:
        yield x * 2
        yield torch.rand(3)


X = torch.ones(3)
MODEL = Model()

CALLERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a function": lambda x: decorated(x) + 1,
    "a generator": lambda x: sum(decorated_generator(x), x),
    "a method": lambda x: MODEL.method(x) + 1,
    "a class method": lambda x: Model.class_method(x) + 1,
    "a class method under the decorator": lambda x: Model.class_method_above(x) + 1,
    "a static method": lambda x: Model.static_method(x) + 1,
    "a method that yields": lambda x: sum(MODEL.generator(x), x),
    "a function that holds a block": lambda x: with_a_block(x) + 1,
    "a function decorated on the spot": lambda x: reproducible(seed=1)(noise)(x) + 1,
}


def test_a_compiled_decorated_function_draws_what_it_draws_in_eager_mode() -> None:
    function, backend = compiled(decorated)
    before = torch.get_rng_state()
    assert [function(X).tolist() for _ in range(3)] == [decorated(X).tolist()] * 3
    assert backend.graphs == 1
    assert torch.equal(torch.get_rng_state(), before)
    assert no_scope_is_open()


def test_a_decorated_compiled_function_draws_what_it_draws_in_eager_mode() -> None:
    function, backend = compiled(noise)
    outside = reproducible(seed=1)(function)
    assert [outside(X).tolist() for _ in range(3)] == [decorated(X).tolist()] * 3
    assert backend.graphs == 1


def test_a_block_inside_a_compiled_function_keeps_its_seed_and_gives_everything_back() -> None:
    function, _ = compiled(with_a_block)
    before = torch.get_rng_state()
    assert [function(X).tolist() for _ in range(3)] == [with_a_block(X).tolist()] * 3
    assert torch.equal(torch.get_rng_state(), before)
    assert no_scope_is_open()


@pytest.mark.parametrize(
    "called",
    [pytest.param(name, marks=needs_traced_generators if "yields" in name else ()) for name in CALLERS],
)
def test_what_a_compiled_function_calls_keeps_its_scope(called: str) -> None:
    caller = CALLERS[called]
    expected = caller(X).tolist()
    function, _ = compiled(caller)
    with torch.random.fork_rng(devices=[]):
        assert [function(X).tolist() for _ in range(3)] == [expected] * 3
    assert no_scope_is_open()


def test_a_whole_graph_around_a_scope_is_refused_instead_of_dropping_it() -> None:
    for function in (with_a_block, CALLERS["a function"]):
        whole, _ = compiled(function, fullgraph=True)
        with torch.random.fork_rng(devices=[]), pytest.raises(RuntimeError, match=r"[Ss]kip|[Uu]nsupported|disable"):
            whole(X)


def test_entering_compiles_a_second_time_for_deterministic_algorithms_and_then_never_again() -> None:
    # Dynamo guards on deterministic algorithms, warn_only and the number of threads: one more graph for each
    # combination met, and none for going in and out of scopes afterwards.
    function, backend = compiled(noise)
    graphs = []

    def call(**options: Any) -> None:
        with reproducible(seed=1, **options):
            assert function(X).tolist() == noise_after_seeding()
        graphs.append(backend.graphs)

    def noise_after_seeding() -> list[float]:
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(1))
        result: list[float] = (X * 2 + drawn).tolist()
        return result

    with torch.random.fork_rng(devices=[]):
        function(X)
        assert backend.graphs == 1
        for level in (True, False, "cudnn", True, "warn"):
            call(deterministic=level)
        other_number = torch.get_num_threads() % 2 + 1
        for threads in (other_number, other_number, None):
            call(num_threads=threads)
        call(deterministic="warn")
        function(X)
    assert graphs == [2, 2, 2, 2, 3, 4, 4, 4, 4]
    assert backend.graphs == 4


def test_functions_compiled_inside_a_scope_go_on_outside() -> None:
    with reproducible(seed=1):
        function, _ = compiled(torch.square)
        inside = function(X + 1)
    assert torch.equal(function(X + 1), inside)
    with reproducible(seed=2):
        assert torch.equal(function(X + 1), inside)


def test_a_compiled_training_has_the_bits_of_the_eager_one() -> None:
    def train(compile_it: bool) -> list[list[float]]:
        model: Any = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        parameters = list(model.parameters())
        if compile_it:
            model = torch.compile(model, backend="eager")
        for _ in range(3):
            gradients = torch.autograd.grad(model(torch.rand(5, 4)).square().sum(), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= 0.1 * gradient
        return [parameter.flatten().tolist() for parameter in parameters]

    run = reproducible(seed=1)(train)
    assert run(True) == run(True) == run(False)
    assert reproducible(seed=2)(train)(True) != run(True)


def test_a_decorated_function_keeps_its_signature_for_the_compiler() -> None:
    assert inspect.signature(torch.compile(decorated, backend="eager")) == inspect.signature(decorated)


def test_compiled_code_takes_the_generators_that_are_made_while_entropy_is_watched() -> None:
    def drawn(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + torch.rand(3, generator=generator)

    run, _ = compiled(drawn)
    with reproducible(seed=1, entropy="raise"):
        made = torch.Generator().manual_seed(2)
        assert torch.equal(run(torch.zeros(3), made), drawn(torch.zeros(3), torch.Generator().manual_seed(2)))
