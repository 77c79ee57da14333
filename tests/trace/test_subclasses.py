"""Tensors that are more than memory: none crashes a recording, and plain ones inside them are recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from deterministic.trace.file.model import TRACE_LEVELS, TraceLevel
from deterministic.trace.recording.kept import Kept
from deterministic.values.hashes import read
from deterministic.values.numbers import NOT_COMPARED, UNREADABLE

from .recorded import Memory, Recorder, recorded  # type: ignore[attr-defined]

pytestmark = pytest.mark.usefixtures("apart")


class Tagged(Tensor):
    """A subclass without `__torch_dispatch__`, as torchvision's `tv_tensors` are."""


class Wrapper(Tensor):
    """A subclass that holds a plain tensor, and takes every operation apart."""

    inner: Tensor  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapper:
        made: Wrapper = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def unwrap(value: Any) -> Any:
            return value.inner if isinstance(value, Wrapper) else value

        result = function(*tree_map(unwrap, args), **tree_map(unwrap, kwargs or {}))
        return tree_map(lambda value: Wrapper(value) if isinstance(value, Tensor) else value, result)


def jagged() -> Any:
    x = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)
    return (x * 2).sin()


def strided_nested() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)]) * 2


def sparse() -> Any:
    x = torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2))  # type: ignore[arg-type]
    return torch.sparse.mm(x, torch.ones(2, 2)) + (x * 2).coalesce().to_dense()


def compressed() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(3).to_sparse_csr() @ torch.ones(3, 3)


def quantized() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8).dequantize()


def complex_views() -> Any:
    x = torch.ones(3, dtype=torch.complex64)
    return x.conj() * x.conj().imag.neg() + torch._neg_view(torch.ones(3))


def small_floats() -> Any:
    return torch.ones(3).to(torch.float8_e4m3fn).to(torch.float32), torch.ones(2).bfloat16() + 1


def oddities() -> Any:
    return torch.ones(0) + 1, torch.ones(()) + 1, torch.ones(3).bool() & True, torch.ones(2, 0).sum()


def autocast() -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return nn.Linear(3, 3)(torch.ones(2, 3))


def inference() -> Any:
    with torch.inference_mode():
        return nn.Linear(3, 3)(torch.ones(2, 3)).sin()


def wrapped() -> Any:
    return (Wrapper(torch.ones(3)) * 2).sin()


def tagged() -> Any:
    return torch.ones(3).as_subclass(Tagged).sin().add_(1)


def meta() -> Any:
    return torch.ones(3, device="meta").add(1).mul_(2)


def lazy() -> Any:
    return nn.LazyLinear(2)(torch.ones(1, 3))


def fake() -> Any:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return nn.Linear(3, 3)(torch.ones(1, 3)).sum()


def functional() -> Any:
    return torch.func.functionalize(lambda x: x.clone().add_(1))(torch.ones(3))


def vmapped() -> Any:
    return torch.func.vmap(nn.Linear(3, 3))(torch.ones(2, 3))


def freed() -> Any:
    x = torch.ones(3)
    x.untyped_storage().resize_(0)
    return x.view(3), torch.zeros(3).copy_(torch.ones(3))


def higher_order() -> Any:
    return torch.cond(torch.tensor(True), lambda x: x.sin(), lambda x: x.cos(), (torch.ones(3),))


def made_subclass() -> Any:
    return Tensor._make_subclass(Tagged, torch.ones(3)).detach().sin()


BODIES = [
    jagged,
    strided_nested,
    sparse,
    compressed,
    quantized,
    complex_views,
    small_floats,
    oddities,
    autocast,
    inference,
    wrapped,
    tagged,
    meta,
    lazy,
    fake,
    functional,
    vmapped,
    freed,
    higher_order,
    made_subclass,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("level", TRACE_LEVELS)
@pytest.mark.parametrize("body", BODIES)
def test_no_kind_of_tensor_stops_a_recording(body: Callable[[], Any], level: TraceLevel) -> None:
    def in_a_module() -> Any:
        class Root(nn.Module):
            def forward(self) -> Any:
                return body()

        return Root()()

    torch.default_generator.manual_seed(0)
    first = recorded(in_a_module, level)
    torch.default_generator.manual_seed(0)
    assert recorded(in_a_module, level).hashes() == first.hashes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_of_every_kind_the_values_are_kept_that_can_be_read() -> None:
    counts = {}
    for body in BODIES:
        root, kept = type("Root", (nn.Module,), {"forward": lambda self, body=body: body()})(), Kept()
        recorded(root, "ops", ahead=True, kept=kept)
        counts[body] = len([*kept])
    assert {body for body, count in counts.items() if not count} == {meta, fake}


def test_operations_on_a_subclass_without_dispatch_are_recorded_read_and_written() -> None:
    x = torch.ones(3).as_subclass(Tagged)
    found = recorded(lambda: x.add_(1))
    assert found.one("add_").values("input") == [("float32[3]", "self")]
    assert found.one("add_").values("output") == [("float32[3]", "")]
    assert found.one("add_").hashes[-1] == read(torch.full((3,), 2.0))[1]


def test_the_plain_operations_inside_a_wrapper_are_recorded() -> None:
    x = Wrapper(torch.ones(3))
    found = recorded(lambda: x.sin())
    assert found.one("sin").values("output") == [("float32[3]", "")]
    assert found.one("sin").hashes[-1] == read(torch.ones(3).sin())[1]


def test_the_plain_operations_inside_a_jagged_tensor_are_recorded() -> None:
    x = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)
    assert recorded(lambda: x.sin()).one("sin").values("output") == [("float32[3, 3]", "")]


def test_one_bit_of_what_is_inside_is_seen() -> None:
    def of(kind: Callable[[Tensor], Any], bit: float) -> list[Any]:
        x = torch.tensor([1.0, 2.0, 3.0 + bit])
        return [bits for _, bits in recorded(lambda: kind(x), "ops+inputs").hashes() if bits]

    kinds: list[Callable[[Tensor], Any]] = [
        lambda x: x.as_subclass(Tagged).sin(),
        lambda x: Wrapper(x).sin(),
        lambda x: torch.sparse_coo_tensor([[0, 1, 2]], x, (3,)) * 2,  # type: ignore[arg-type]
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        lambda x: torch.complex(x, x).conj().clone(),
        lambda x: x.to(torch.float8_e5m2),
    ]
    for kind in kinds:
        assert of(kind, 0.0) == of(kind, 0.0)
        assert of(kind, 0.0) != of(kind, 0.5)


def test_what_has_no_values_says_so() -> None:
    kind, bits = read(torch.ones(3, device="meta"))
    assert (str(kind).endswith(NOT_COMPARED), bits) == (True, 0)
    x = torch.ones(3)
    x.untyped_storage().resize_(0)
    assert str(read(x)[0]).endswith(NOT_COMPARED)
    assert str(read(Wrapper(torch.ones(3)))[0]) == f"Wrapper, {UNREADABLE}"


def test_fake_operations_are_no_records() -> None:
    assert recorded(fake).names() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("body", BODIES)
def test_only_an_opaque_tensor_has_values_that_cannot_be_read(body: Callable[[], Any]) -> None:
    class Root(nn.Module):
        def forward(self) -> Any:
            return body()

    recorder = Recorder(Memory(), "modules")
    recorder.start()
    try:
        recorder.returned(Root()())
    finally:
        recorder.stop()
    missed = recorder.summary()
    assert missed["unreadable"] == (["result Root: Wrapper", "returned: Wrapper"] if body is wrapped else [])
    is_hollow = body in (meta, fake, freed)
    assert any("without values" in text for text in missed["not_compared"]) == is_hollow
