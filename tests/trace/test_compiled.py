"""torch.compile under a recording: compiled code runs compiled, is compiled as often as without, and is one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deterministic import verify
from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.file.model import TRACE_LEVELS, TraceLevel
from deterministic.trace.recording.attribution import Where
from deterministic.trace.recording.compiled import _name
from deterministic.trace.recording.modules import ModuleName
from deterministic.trace.recording.places import Spot
from deterministic.trace.recording.torch_internals import RUNS_COMPILED

from ..compiling import Counting, needs_a_compiler, run_inductor
from ..verify.repeated import reason_of
from .models import Transformer, batches, loss_of
from .recorded import Recorded, line_of, recorded

pytestmark = pytest.mark.usefixtures("apart")

needs_compiled = pytest.mark.skipif(not RUNS_COMPILED, reason="this torch compiles nothing under a mode")


@pytest.fixture(autouse=True)
def dynamo() -> Iterator[None]:
    """Import what torch.compile imports, before the canary looks; forget what was compiled."""
    import torch._dynamo

    import deterministic.scope.reproducible  # noqa: F401 - which tells dynamo to skip this library

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def steps(model: Callable[[Tensor], Tensor], count: int = 3) -> list[float]:
    return [loss_of(model, x, y).item() for x, y in batches(count)]  # type: ignore[arg-type]


def of_module(backend: Counting) -> Callable[[Tensor], Tensor]:
    return torch.compile(Transformer().eval(), backend=backend)


def in_place(backend: Counting) -> Callable[[Tensor], Tensor]:
    model = Transformer().eval()
    model.compile(backend=backend)
    return model


def of_function(backend: Counting) -> Callable[[Tensor], Tensor]:
    model = Transformer().eval()
    return torch.compile(lambda x: model(x), backend=backend)


@needs_compiled
@pytest.mark.parametrize("level", TRACE_LEVELS)
@pytest.mark.parametrize("compiled", [of_module, in_place, of_function])
def test_a_recording_breaks_no_graph_and_compiles_at_most_once_more(
    compiled: Callable[[Counting], Callable[[Tensor], Tensor]], level: TraceLevel
) -> None:
    backend = Counting()
    torch.default_generator.manual_seed(0)
    model = compiled(backend)
    outside_first = steps(model)
    assert (backend.graphs, backend.runs) == (1, 3)
    for _ in range(3):
        assert recorded(lambda: steps(model), level).result == outside_first
    assert backend.runs == 12
    assert backend.graphs <= 2
    again = backend.graphs
    assert steps(model) == outside_first
    assert backend.graphs == again


@needs_compiled
@pytest.mark.parametrize("compiled", [of_module, in_place, of_function])
def test_what_is_compiled_first_in_a_recording_is_one_graph(
    compiled: Callable[[Counting], Callable[[Tensor], Tensor]],
) -> None:
    backend = Counting()
    model = compiled(backend)
    found = [recorded(lambda: steps(model)) for _ in range(3)]
    assert (backend.graphs, backend.runs) == (1, 9)
    assert found[0].hashes() == found[1].hashes() == found[2].hashes()


@needs_compiled
@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:Profiler")
@pytest.mark.parametrize("is_whole", [True, False])
def test_steps_within_a_compiled_call_are_looked_into_and_torch_is_as_it_was(is_whole: bool) -> None:
    """Such a call puts the dispatch keys back: a mode that came meanwhile is lost, and one that went is missed."""
    noise = iter(range(1, 100))

    def training() -> None:
        torch._dynamo.reset()
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def step(x: Tensor) -> None:
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        compiled = torch.compile(step if is_whole else optimizer.step, backend="eager")
        for index in range(4):
            x = torch.randn(8, 4)
            if index == 2:
                x = x * float(next(noise))  # other
            if is_whole:
                compiled(x)
            else:
                model(x).square().mean().backward()
                compiled()

    report = verify(training, runs=2)
    assert report.outcome == "different"
    assert reason_of(report) is Reason.NUMBER
    assert f"{Path(__file__).name}:{line_of(training, 'other')} " in str(report)
    assert not report.notes, report.notes
    assert torch.empty(2).fill_(1).sum() == 2


@pytest.mark.skipif(RUNS_COMPILED, reason="this torch runs compiled code under a mode")
def test_a_torch_that_cannot_run_compiled_code_under_a_mode_runs_none_and_goes_on_afterwards() -> None:
    backend = Counting()
    model = of_module(backend)
    expected = recorded(lambda: steps(model)).result
    assert backend.graphs == 0
    assert steps(model) == expected
    assert (backend.graphs, backend.runs) == (1, 3)
    recorded(lambda: steps(model))
    assert steps(model) == expected
    assert (backend.graphs, backend.runs) == (1, 6)


def spot(function: str) -> Spot:
    namespace: dict[str, Any] = {}
    exec(f"def {function}(): pass", namespace)
    return Spot(namespace[function].__code__, 0)


@pytest.mark.parametrize(
    ("function", "module", "name"),
    [
        ("forward", ModuleName("a", "Linear", "Net"), "compiled Linear"),
        ("step", ModuleName("a", "Linear", "Net"), "compiled step"),
        ("torch_dynamo_resume_in_step_at_12", ModuleName(), "compiled step"),
        ("torch_dynamo_resume_in_forward_at_7", ModuleName("", "Net", "Net"), "compiled Net"),
        ("forward", ModuleName(), "compiled forward"),
    ],
)
def test_a_region_is_called_after_the_module_or_the_function(function: str, module: ModuleName, name: str) -> None:
    assert _name(Where("forward", module, spot(function))) == name


INDUCTOR = """
import torch, torch._inductor.config
from torch import nn
from tests.trace.recorded import recorded

if hasattr(torch._inductor.config, "cpp_cache_precompile_headers"):
    torch._inductor.config.cpp_cache_precompile_headers = False  # a few functions do not repay it
torch.set_num_threads(1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count.add_(1)
        return self.inner(x).sin() * 2

def gate(x):
    return (x.cos() + torch.rand(4)).cumsum(0)

def run():
    torch.manual_seed(0)
    net = Net()
    model, function = torch.compile(net), torch.compile(gate)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        loss = function(model(torch.randn(3, 4))).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item(), net.count.item(), net.inner.weight.tolist()

found = recorded(run, "ops+inputs")
assert run() == found.result == recorded(run).result
assert recorded(run, "ops+inputs").hashes() == found.hashes()
regions = [entry for entry in found.steps[1][1] if entry.site.name.startswith("compiled")]
assert [(e.site.name, e.site.phase) for e in regions] == [
    ("compiled Net", "forward"),
    ("compiled gate", "forward"),
    ("compiled gate", "backward"),
    ("compiled Net", "backward"),
]
net, gate_, *backward = regions
assert ("float32[]", "count") in net.values("output")
assert {name.split()[-1] for _, name in net.values("input")} >= {"inner.weight", "inner.bias", "count"}
assert net.values("generator") == [] != gate_.values("generator")
assert all(e.values("input") and e.values("output") for e in regions)
assert {e.site.node for e in backward} == {"CompiledFunctionBackward"}
assert net.site.root_class == "Net" == backward[1].site.root_class
names = set(found.names())
assert not names & {"aten.sin.default", "aten.cos.default", "aten.cumsum.default", "aten.addmm.out", "aten.mm.out"}
import torch._inductor.output_code as output_code
assert output_code.CompiledFxGraph.__call__.__module__ == "torch._inductor.output_code"
print("recorded")
"""


@needs_compiled
@pytest.mark.slow
@needs_a_compiler
def test_generated_code_is_one_record_with_what_it_read_wrote_and_drew(inductor_cache: Path) -> None:
    assert run_inductor(INDUCTOR, inductor_cache) == "recorded"


def test_a_region_that_cannot_be_observed_shows_one_operation_later() -> None:
    x = torch.ones(2)

    def opaque(number: float) -> Tensor:
        return torch.from_numpy((x.numpy() * number).copy())  # stands for a backend of somebody else's

    def run(number: float) -> Recorded:
        return recorded(lambda: nn.functional.relu(opaque(number)), "ops+inputs")

    one, other = run(1.0), run(2.0)
    (first,) = [a for a, b in zip(one.all(), other.all(), strict=True) if a.hashes != b.hashes][:1]
    assert first.site.name.startswith("aten.lift_fresh") or first.origins() == ["outside"]
