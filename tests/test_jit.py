"""TorchScript would drop a scope: scripting a decorated function and tracing into a scope are refused."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeConflictError
from deterministic.trace.file.model import TraceLevel

from .processes import run_python
from .streams import no_scope_is_open
from .trace.recorded import recorded

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # a FutureWarning from torch 2.14 on


@reproducible(seed=1)
def decorated(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand(3)


def calls(x: torch.Tensor) -> torch.Tensor:
    return decorated(x)


def with_a_block(x: torch.Tensor) -> torch.Tensor:
    with reproducible(seed=1):
        return x + torch.rand(3)


@reproducible(seed=1)
def decorated_generator(x: torch.Tensor) -> Generator[torch.Tensor, None, None]:
    yield x + torch.rand(3)


def steps(x: torch.Tensor) -> torch.Tensor:
    return next(decorated_generator(x))


class Forward(torch.nn.Module):
    @reproducible(seed=1)
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(3)


class Method(torch.nn.Module):
    @reproducible(seed=1)
    def noise(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.noise(x)


class CallsFunction(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return decorated(x)


X = torch.zeros(3)
SCRIPTED: dict[str, Any] = {
    "a decorated function": decorated,
    "a decorated method": Method().noise,
    "a function that calls a decorated one": calls,
    "a module that calls a decorated function": CallsFunction(),
}
TRACED: dict[str, Any] = {
    "a decorated function": decorated,
    "a function that calls a decorated one": calls,
    "a function that holds a block": with_a_block,
    "a function that steps through a decorated generator": steps,
    "a module that calls a decorated function": CallsFunction(),
    "a module whose forward is decorated": Forward(),
    "a module with a decorated method": Method(),
}


@pytest.mark.parametrize("target", SCRIPTED)
def test_scripting_a_scope_is_refused_instead_of_dropping_it(target: str) -> None:
    with pytest.raises(TypeError, match="would drop the scope") as refused:
        torch.jit.script(SCRIPTED[target])
    assert "Script the function under the decorator" in str(refused.value)


@pytest.mark.parametrize("target", TRACED)
def test_tracing_a_scope_is_refused_instead_of_dropping_it(target: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ScopeConflictError, match=r"torch\.jit\.trace records"):
        torch.jit.trace(TRACED[target], X)
    assert torch.equal(torch.get_rng_state(), before)
    assert no_scope_is_open()


def test_a_traced_or_scripted_function_draws_from_the_scope_around_its_calls() -> None:
    def noise(x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(3)

    conversions: list[Any] = [torch.jit.script, lambda function: torch.jit.trace(function, X, check_trace=False)]
    for convert in conversions:
        with torch.random.fork_rng(devices=[]):
            converted: Any = convert(noise)
        for _ in range(2):
            with reproducible(seed=1):
                assert torch.equal(converted(X), decorated(X))


@pytest.mark.parametrize("level", ["values", "ops+inputs"])
def test_a_recording_is_no_part_of_what_is_traced(level: TraceLevel) -> None:
    """Tracing runs the module twice and compares the graphs: hooks that asked its tensors made them differ."""
    with reproducible(seed=0):
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    one = torch.jit.trace(model, torch.zeros(1, 4)).inlined_graph
    other = recorded(lambda: torch.jit.trace(model, torch.zeros(1, 4)), level).result.inlined_graph
    assert len({re.sub(r"\.___torch_mangle_\d+| #.*", "", str(graph)) for graph in (one, other)}) == 1


def training() -> list[torch.Tensor]:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    for call in (torch.jit.script(model), torch.jit.trace(model, torch.zeros(1, 4))):
        optimizer = torch.optim.SGD(call.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            call(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    return [*model.parameters()]


def test_a_scripted_training_is_bit_exact_although_its_first_call_makes_another_graph() -> None:
    code = "from deterministic import verify; from tests.test_jit import training; print(verify(training, runs=2))"
    assert run_python(code, PYTHONWARNINGS="ignore").startswith("bit-exact: 2 runs of training, 6 steps each")
