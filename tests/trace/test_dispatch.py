"""The dispatch mode: what a record of an operation has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from deterministic.trace.recording.records import constant
from deterministic.trace.recording.torch_internals import DispatchMode
from deterministic.values.hashes import read

from .recorded import line_of, recorded

pytestmark = pytest.mark.usefixtures("apart")


def test_an_operation_has_its_name_line_arguments_and_outputs() -> None:
    def body() -> None:
        torch.ones(2, 3).sum(dim=1, keepdim=True)  # here

    entry = recorded(body).one("sum")
    assert entry.site.name == "aten.sum.dim_IntList"
    assert entry.site.place == f"tests/trace/test_dispatch.py:{line_of(body, 'here')}"
    assert entry.site.function == "body"
    assert entry.site.arguments == "dim=(1,), keepdim=True"
    assert entry.values("output") == [("float32[2, 1]", "")]
    assert entry.hashes == [read(torch.full((2, 1), 3.0))[1]]


def test_inputs_are_hashed_where_they_come_from_outside_and_at_the_highest_level() -> None:
    x, y = torch.ones(2), torch.zeros(2)

    def body() -> None:
        (x + y).mul(x)

    found = recorded(body)
    assert found.one("add").values("input") == [("float32[2]", "self"), ("float32[2]", "other")]
    assert found.one("mul").values("input") == []
    found = recorded(body, "ops+inputs")
    assert found.one("mul").values("input") == [("float32[2]", "self"), ("float32[2]", "other")]
    assert found.one("mul").origins() == ["", ""]


def test_what_was_written_past_torch_shows_in_the_next_input() -> None:
    x = torch.ones(2)

    def body(number: float) -> Any:
        def inner() -> None:
            x.fill_(1)
            x.numpy()[0] = number
            x.sin()

        return recorded(inner, "ops+inputs")

    one, other = body(1.0), body(2.0)
    assert one.one("fill_").hashes == other.one("fill_").hashes
    assert one.one("sin").hashes[0] != other.one("sin").hashes[0]
    assert one.one("sin").origins() == [""]


def test_a_number_that_is_returned_is_an_output() -> None:
    entry = recorded(lambda: torch.tensor(2.5).item()).one("_local_scalar_dense")
    assert entry.values("output") == [("float", "")]


def test_python_data_is_an_output_and_a_single_number_has_its_value() -> None:
    found = recorded(lambda: [torch.tensor(2.5), torch.tensor([1.0, 2.0]), torch.from_numpy(torch.ones(2).numpy())])
    numbers = [entry.values("number") for entry in found.named("lift_fresh")]
    assert numbers[:2] == [[("float", "data")], []]
    assert all(entry.values("input") == [] for entry in found.named("lift_fresh"))


def test_a_list_of_tensors_counts_by_its_length() -> None:
    x = [torch.ones(2)] * 3
    assert recorded(lambda: torch.cat(x)).one("cat").site.arguments == "tensors=3 tensors"
    assert recorded(lambda: torch.stack(x[:1])).one("stack").site.arguments == "tensors=1 tensor"
    assert recorded(lambda: torch._foreach_add(x, x)).one("_foreach_add").site.arguments == (
        "self=3 tensors, other=3 tensors"
    )


def test_whether_autograd_takes_a_gradient_or_copies_it_is_no_difference() -> None:
    held = []

    class Identity(torch.autograd.Function):
        holds = False

        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            result = gradient * 2
            if Identity.holds:
                held.append(result)
            return result

    def body() -> Tensor:
        x = torch.ones(3, requires_grad=True)
        Identity.apply(x).sum().backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        assert not held or x.grad.data_ptr() != held[-1].data_ptr()  # it was copied
        return x.grad * 3

    taken = recorded(body, "ops+inputs")
    Identity.holds = True
    copied = recorded(body, "ops+inputs")
    assert copied.hashes() == taken.hashes()
    assert len(held) == 1


def test_an_operation_that_raises_is_no_record_and_raises_the_same() -> None:
    def body() -> None:
        with pytest.raises(RuntimeError, match="size of tensor"):
            torch.ones(2) + torch.ones(3)

    assert recorded(body).named("add") == []


def test_parameters_have_their_names() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))

    def body() -> None:
        model(torch.ones(1, 2))
        with torch.no_grad():
            model[0].weight.mul_(2)  # type: ignore[operator]

    found = recorded(body, "ops+inputs")
    assert ("float32[2]", "self 0.bias") in found.one("addmm").values("input")
    assert found.one("mul_").values("output") == [("float32[2, 2]", "0.weight")]


def test_what_takes_functions_is_one_operation() -> None:
    x = torch.ones(2)

    def body() -> Tensor:
        result: Tensor = torch.cond(torch.tensor(True), lambda x: x.sin(), lambda x: x.cos(), (x,))
        return result

    found = recorded(body)
    assert torch.equal(found.result, x.sin())
    assert read(x.sin())[1] in [bits for entry in found.all() for bits in entry.hashes]


def test_a_constant_is_the_same_text_in_every_process() -> None:
    assert constant([1, [None, "a"]]) == (1, (None, "a"))
    assert constant(torch.float32) is torch.float32
    assert constant(object()) == "object"
    assert constant(torch.preserve_format) is torch.preserve_format


class Users(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def test_a_mode_is_put_below_the_user_s_and_taken_away_in_any_order() -> None:
    stack = _python_dispatch._get_current_dispatch_mode_stack
    mine, other = DispatchMode(), DispatchMode()
    with Users() as users:  # type: ignore[no-untyped-call]
        mine.enter()
        assert stack() == [mine, users]
        other.enter()
        mine.leave()
        assert stack() == [other, users]
    assert stack() == [other]
    mine.leave()
    other.leave()
    assert stack() == []


def test_a_tensor_without_elements_which_arriving_batches_begin_as_is_no_record() -> None:
    source = torch.ones(4).untyped_storage()

    def body() -> None:
        torch.empty((0,)).set_(source, 0, (4,), (1,)).exp()
        torch.empty((4,))

    assert recorded(body).names() == ["aten.exp.default", "aten.empty.memory_format"]
