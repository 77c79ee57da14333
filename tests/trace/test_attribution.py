"""Phase, module and line of operations: of the forward pass, the backward pass, recomputation and optimizers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential, set_checkpoint_early_stop

from deterministic.distributed import world_invariant

from .models import MODELS, Transformer, train
from .recorded import Entry, Recorded, line_of, recorded

FILE = "tests/trace/test_attribution.py"


pytestmark = pytest.mark.usefixtures("apart")


def in_phase(found: Recorded, phase: str) -> list[Entry]:
    return [entry for entry in found.all() if entry.site.phase == phase]


def at(function: Callable[..., Any], mark: str) -> str:
    return f"{FILE}:{line_of(function, mark)}"


@pytest.mark.parametrize("name", MODELS)
def test_nearly_all_operations_of_a_training_have_their_module_and_line(name: str) -> None:
    found = recorded(lambda: train(MODELS[name](), 3))
    for phase in ("forward", "backward", "optimizer"):
        entries = in_phase(found, phase)
        assert entries
        assert sum(bool(entry.site.place) for entry in entries) >= 0.95 * len(entries), phase
    trained = [entry for step, entries in found.steps if step.number for entry in entries]
    inside = [e for e in trained if e.site.kind == "operation" and e.site.phase in ("forward", "backward")]
    own = [e for e in inside if e.site.function not in ("loss_of", "train", "batches")]  # these are in no module
    assert sum(bool(entry.site.root_class) for entry in own) >= 0.95 * len(own)


def test_an_operation_of_the_backward_pass_has_the_line_of_its_forward_operation() -> None:
    found = recorded(lambda: train(Transformer(), 1))
    forward = {(e.site.module, e.site.place) for e in in_phase(found, "forward")}
    products = [e for e in in_phase(found, "backward") if e.site.node == "AddmmBackward0"]
    assert len(products) >= 8
    assert {(e.site.module, e.site.place) for e in products} <= forward


class Piece(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x).sin()  # piece
        return result


class Checkpointed(nn.Module):
    """Two pieces, of which each is recomputed on its own."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.first, self.second = Piece(), Piece()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.first, x, **self.how)
        return checkpoint(self.second, x, **self.how).cos()  # type: ignore[no-any-return]


HOW = {"without reentry": {"use_reentrant": False}, "reentrant": {"use_reentrant": True}}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_what_is_recomputed_has_its_own_module_and_line(how: dict[str, Any]) -> None:
    model = Checkpointed(**how)
    found = recorded(lambda: model(torch.ones(2, 3, requires_grad=True)).sum().backward())
    again = in_phase(found, "recompute")
    assert [e.site.module for e in again if "addmm" in e.site.name] == ["second.inner", "first.inner"]
    assert {e.site.place for e in again} == {at(Piece.forward, "piece")}
    products = [e for e in in_phase(found, "backward") if "mm" in e.site.name]
    assert {e.site.module for e in products} == {"first.inner", "second.inner"}
    assert recorded(lambda: torch.ones(1).add(1)).one("add").site.root_class == ""


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_modules_are_left_after_a_recomputation_even_if_it_raises(how: dict[str, Any]) -> None:
    class Failing(Piece):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Failing.calls += 1
            if Failing.calls == 2:
                raise ValueError("in the recomputation")
            return super().forward(x)

    model = Checkpointed(**how)
    model.first = Failing()

    def body() -> None:
        with pytest.raises(ValueError, match="in the recomputation"):
            model(torch.ones(2, 3, requires_grad=True)).sum().backward()
        torch.ones(1).exp()

    assert recorded(body).one("exp").site.root_class == ""


@pytest.mark.parametrize("early", [False, True])
def test_modules_are_left_where_a_recomputation_stops_early(early: bool) -> None:
    def body() -> None:
        x = torch.ones(2, 3, requires_grad=True)
        with set_checkpoint_early_stop(early):
            Checkpointed(use_reentrant=False)(x).sum().backward()
        torch.ones(1).exp()

    found = recorded(body)
    assert found.one("exp").site.root_class == ""
    assert len(in_phase(found, "recompute")) == (2 if early else 4)


class OfFunctions(nn.Module):
    """Recomputes a function in each of two parts, which are of one class, and so on the same line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Part() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = checkpoint(
            lambda x: self.b(self.a(x).tanh()).sin(),  # the function
            x,
            use_reentrant=False,
        )
        return result


def test_a_recomputed_function_belongs_to_the_module_that_called_it() -> None:
    model = OfFunctions()
    found = recorded(lambda: model(torch.ones(2, 3, requires_grad=True)).sum().backward())
    again = in_phase(found, "recompute")
    assert [(e.site.module, e.site.name.split(".")[1]) for e in again] == [
        ("parts.1.a", "addmm"),
        ("parts.1", "tanh"),
        ("parts.1.b", "addmm"),
        ("parts.0.a", "addmm"),
        ("parts.0", "tanh"),
        ("parts.0.b", "addmm"),
    ]
    assert {e.site.place for e in again} == {at(Part.forward, "the function")}


def test_nested_and_sequential_checkpoints_are_recomputed_in_their_own_modules() -> None:
    model = nn.Sequential(Piece(), Piece())

    def nested() -> None:
        x = torch.ones(2, 3, requires_grad=True)
        inner = partial(checkpoint, model, use_reentrant=False)
        checkpoint(inner, x, use_reentrant=False).sum().backward()

    modules = {e.site.module for e in in_phase(recorded(nested), "recompute")}
    assert modules >= {"0.inner", "1.inner", "0"}  # it stops before it needs the last one of "1"

    def sequential() -> None:
        x = torch.ones(2, 3, requires_grad=True)
        checkpoint_sequential(model, 2, x, use_reentrant=False).sum().backward()

    assert in_phase(recorded(sequential), "recompute")


def test_hooks_of_tensors_and_modules_have_their_own_line() -> None:
    model = Piece()

    def of_tensor(gradient: Tensor) -> Tensor:
        return gradient * 2.5  # hook

    def of_module(module: nn.Module, inputs: Any, outputs: Any) -> None:
        outputs[0].log1p()  # module hook

    handle = model.inner.register_full_backward_hook(of_module)

    def body() -> None:
        y = model(torch.ones(2, 3, requires_grad=True))
        y.register_hook(of_tensor)
        y.sum().backward()

    found = recorded(body)
    handle.remove()
    backward = {e.site.name.split(".")[1]: e.site for e in in_phase(found, "backward")}
    assert backward["mul"].place == at(of_tensor, "hook") or backward["log1p"].place == at(of_module, "module hook")
    multiplied = [e.site for e in in_phase(found, "backward") if e.site.place == at(of_tensor, "hook")]
    assert [site.name for site in multiplied] == ["aten.mul.Tensor"]
    assert backward["log1p"].place == at(of_module, "module hook")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.exp()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient.sigmoid()  # own backward


class WithFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Doubled.apply(x)  # type: ignore[no-untyped-call]
        return result


def test_a_function_s_own_backward_has_its_line_and_the_module_of_its_forward() -> None:
    model = nn.Sequential(WithFunction())
    site = recorded(lambda: model(torch.ones(3, requires_grad=True)).sum().backward()).one("sigmoid").site
    assert (site.phase, site.module, site.node) == ("backward", "0", "DoubledBackward")
    assert site.place == at(Doubled.backward, "own backward")


def test_adding_up_a_gradient_belongs_to_the_module_of_the_parameter() -> None:
    model = Piece()

    def twice() -> None:
        for _ in range(2):
            model(torch.ones(2, 3)).sum().backward()

    added = [e.site for e in recorded(twice).named("add_")]
    assert {site.node.split("::")[-1] for site in added} == {"AccumulateGrad"}
    assert {site.module for site in added} == {"inner"}


def test_the_views_that_world_invariant_makes_belong_to_the_modules_of_their_parameters() -> None:
    model = world_invariant(Piece(), shards=4)
    found = in_phase(recorded(lambda: model(torch.ones(4, 3)).sum().backward()), "backward")
    assert {e.site.module for e in found if e.site.node == "ViewBackward0"} == {"inner"}


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # a FutureWarning from torch 2.14 on
def test_function_transforms_have_their_line() -> None:
    def body() -> None:
        torch.func.grad(lambda x: x.sin().sum())(torch.ones(3))  # grad
        torch.func.vmap(lambda x: x.exp())(torch.ones(3, 2))  # vmap
        torch.func.jvp(lambda x: x.tanh(), (torch.ones(3),), (torch.ones(3),))

    found = recorded(body)
    assert found.one("sin").site.place == at(body, "grad")
    assert found.one("exp").site.place == at(body, "vmap")


def test_a_module_inside_a_transform_is_recorded() -> None:
    model = Piece()

    def loss(state: dict[str, Tensor], x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(model, state, (x,))
        return result.sum()

    def body() -> None:
        state = {name: parameter.detach() for name, parameter in model.named_parameters()}
        torch.func.vmap(torch.func.grad(loss), (None, 0))(state, torch.ones(2, 3))

    for level in ("values", "modules", "ops", "ops+inputs"):
        recorded(body, level)


def test_a_backward_pass_after_many_steps_of_others_is_still_attributed() -> None:
    model, other = Piece(), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([other], lr=0.1)

    def body() -> None:
        waiting = model(torch.ones(2, 3)).sum()
        for _ in range(3):
            (other * 2).sum().backward()
            optimizer.step()
        waiting.backward()

    found = recorded(body)
    assert {e.site.module for e in in_phase(found, "backward") if "mm" in e.site.name} == {"inner"}


def test_views_are_where_the_backward_pass_has_to_do_with_them() -> None:
    def body() -> None:
        x = torch.ones(4, 2, requires_grad=True)
        part = x[1:]  # view
        F.relu(part).sum().backward()

    sites = [e.site for e in in_phase(recorded(body), "backward") if e.site.node == "SliceBackward0"]
    assert {site.place for site in sites} == {at(body, "view")}
