"""Every write is recorded, from the schema or in spite of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _python_dispatch

from deterministic.trace.recording.operations import _SCRATCH, Operation
from deterministic.values.hashes import read

from .recorded import Recorded, recorded

pytestmark = pytest.mark.usefixtures("apart")


def hash_of(tensor: Tensor) -> Any:
    return read(tensor)[1]


def written_by(body: Callable[[], Any], name: str) -> list[tuple[str, str]]:
    return recorded(body).named(name)[-1].values("output")


def test_what_is_written_in_place_is_recorded() -> None:
    x = torch.ones(3)
    entry = recorded(lambda: x.add_(1)).one("add_")
    assert entry.values("output") == [("float32[3]", "")]
    assert entry.hashes[-1] == hash_of(torch.full((3,), 2.0))


def test_what_is_written_to_out_is_recorded() -> None:
    out = torch.empty(3)
    entry = recorded(lambda: torch.add(torch.ones(3), 1, out=out)).one("add.out")
    assert entry.values("output") == [("float32[3]", "")]
    assert entry.hashes[-1] == hash_of(torch.full((3,), 2.0))


def test_every_tensor_of_a_foreach_list_is_recorded() -> None:
    lists = [torch.zeros(2), torch.zeros(3)]
    found = recorded(lambda: torch._foreach_add_(lists, 1.0))
    assert found.one("_foreach_add_").values("output") == [("float32[2]", ""), ("float32[3]", "")]
    assert found.one("_foreach_add_").hashes[-1] == hash_of(torch.ones(3))


@pytest.mark.parametrize("kind", [{"fused": True}, {"foreach": True}])
def test_all_that_an_optimizer_writes_is_recorded(kind: dict[str, bool]) -> None:
    parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.AdamW(parameters, **kind)  # type: ignore[arg-type]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    found = recorded(optimizer.step)
    written = {bits for entry in found.all() for bits in entry.hashes}
    state = [value for parameter in parameters for value in optimizer.state[parameter].values()]
    assert {hash_of(tensor) for tensor in (*parameters, *state) if isinstance(tensor, Tensor)} <= written


def test_statistics_of_batch_norm_are_recorded_where_it_writes_them_and_only_there() -> None:
    norm = torch.nn.BatchNorm1d(3)
    found = recorded(lambda: norm(torch.randn(4, 3)))
    entry = found.one("native_batch_norm")
    assert [name for _, name in entry.values("output")][:2] == ["running_mean", "running_var"]
    assert hash_of(norm.running_mean) in entry.hashes  # type: ignore[arg-type]
    norm.eval()
    evaluated = recorded(lambda: norm(torch.randn(4, 3)).sum())
    assert "running_mean" not in [
        name for entry in evaluated.named("native_batch_norm") for _, name in entry.values("output")
    ]


def test_the_backward_pass_of_batch_norm_only_reads_its_statistics() -> None:
    norm = torch.nn.BatchNorm1d(3)
    found = recorded(lambda: norm(torch.randn(4, 3)).sum().backward())
    backward = [entry for entry in found.named("native_batch_norm") if entry.site.phase == "backward"]
    assert all("running" not in name for entry in backward for _, name in entry.values("output"))
    assert backward


def test_what_index_put_writes_is_recorded() -> None:
    x, index = torch.zeros(3), torch.tensor([1])
    assert written_by(lambda: x.index_put_((index,), torch.ones(1)), "index_put_") == [("float32[3]", "")]


def test_views_are_no_records() -> None:
    x = torch.ones(4, 2)

    def views() -> None:
        x.view(8).t()
        x.unsqueeze(0).expand(2, 4, 2).permute(2, 0, 1).detach().unbind()
        assert x.size(0) == x.numel() - x.dim() - 2

    assert recorded(views).names() == []


PARTS: dict[str, tuple[Callable[[Tensor], Any], list[tuple[str, str]], str]] = {
    "select.int": (lambda x: x[3], [("int", "index")], "dim=0"),
    "slice.Tensor": (lambda x: x[1:3], [("int", "start"), ("int", "end")], "dim=0"),
    "as_strided.default": (
        lambda x: x.as_strided((2,), (1,), 3),
        [("int", "storage_offset")],
        "size=(2,), stride=(1,)",
    ),
    "diagonal.default": (lambda x: x.diagonal(1), [("int", "offset")], ""),
    "unfold.default": (lambda x: x.unfold(0, 2, 2), [("int", "step")], "dimension=0, size=2"),
    "split.Tensor": (lambda x: x.split(2), [("int", "split_size")], ""),
    "split_with_sizes.default": (
        lambda x: x.split([1, 3]),
        [("int", "split_sizes[0]"), ("int", "split_sizes[1]")],
        "",
    ),
    "select_backward.default": (lambda x: x.requires_grad_()[3].sum().backward(), [("int", "index")], ""),
    "slice_backward.default": (
        lambda x: x.requires_grad_()[1:3].sum().backward(),
        [("int", "start"), ("int", "end"), ("int", "step")],
        "",
    ),
    "select_copy.int": (lambda x: torch.select_copy(x, 0, 3), [("int", "index")], "dim=0"),
    "slice_scatter.default": (
        lambda x: x.slice_scatter(torch.zeros(2, 2), 0, 1, 3),
        [("int", "start"), ("int", "end")],
        "dim=0",
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_which_part_of_a_tensor_is_taken_is_a_number(name: str) -> None:
    take, numbers, arguments = PARTS[name]
    entry = recorded(lambda: take(torch.ones(4, 2))).one(name)
    assert entry.values("number") == numbers
    assert arguments in entry.site.arguments


def test_a_view_of_a_part_is_a_record_of_its_place_at_one_site_and_of_nothing_that_is_in_it() -> None:
    x = torch.arange(8.0)

    def body(*indexes: int) -> Recorded:
        return recorded(lambda: [x[index] for index in indexes], "ops+inputs")

    found = body(2, 5, -1)
    assert [entry.hashes for entry in found.named("select")] == [[2], [5], [2**64 - 1]]
    assert len(found.sites) == len(body(1).sites) == 1
    assert found.sites[0].place.startswith("tests/trace/test_operations.py:")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_recurrent_networks_are_recorded_with_and_without_gradients(
    kind: Callable[..., torch.nn.Module], dropout: float, dtype: torch.dtype
) -> None:
    for grad in (True, False):
        for train in (True, False):
            model = kind(4, 4, 2, dropout=dropout).to(dtype).train(train)
            with torch.set_grad_enabled(grad):
                found = recorded(partial(model, torch.ones(3, 2, 4, dtype=dtype)), "ops+inputs")
            assert hash_of(found.result[0]) in [bits for entry in found.all() for bits in entry.hashes]


@pytest.mark.parametrize("name", _SCRATCH)
def test_room_for_the_backward_pass_that_an_operation_did_not_need_is_no_tensor(name: str) -> None:
    namespace = torch.ops.fsdp if name == "all_gather_copy_in" else torch.ops.aten
    if name == "all_gather_copy_in":
        pytest.importorskip("torch.distributed.fsdp._fully_shard")
    known = getattr(namespace, name).default

    class Stub:
        """Stands for the operation, as it is on a machine that is not at hand."""

        _schema, tags = known._schema, known.tags

        def __call__(self, *args: Any) -> Any:
            result: list[Any] = [torch.ones(1) for _ in known._schema.returns]
            result[_SCRATCH[name]] = None
            return tuple(result)

        def __str__(self) -> str:
            return str(known)

    def body() -> None:
        (mode,) = _python_dispatch._get_current_dispatch_mode_stack()
        mode.__torch_dispatch__(Stub(), ())

    assert recorded(body).named(str(known))


def test_a_write_through_a_view_is_recorded_as_what_was_written() -> None:
    x = torch.zeros(4)

    def write() -> None:
        x[1:].fill_(1.0)

    assert written_by(write, "fill_") == [("float32[3]", "")]


def empties() -> dict[str, Callable[[], Tensor]]:
    like = torch.ones(3)
    return {
        "empty": lambda: torch.empty(3),
        "empty_like": lambda: torch.empty_like(like),
        "empty_strided": lambda: torch.empty_strided((3,), (1,)),
        "new_empty": lambda: like.new_empty(3),
        "resize_": lambda: torch.ones(2).resize_(300),
    }


@pytest.mark.parametrize("name", empties())
def test_memory_that_nobody_wrote_is_never_hashed(name: str) -> None:
    assert recorded(empties()[name]).one(name).hashes == []


def test_reading_uninitialised_memory_tells_where_it_was_allocated() -> None:
    def read_it() -> Tensor:
        return torch.empty(3).add(1)

    (origin,) = recorded(read_it).one("add").origins()
    assert origin.startswith("uninitialised ")
    assert "test_operations.py:" in origin


@pytest.mark.filterwarnings("ignore::UserWarning")  # quantized tensors are deprecated
@pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="this build packs no quantized weights")
def test_a_quantized_module_that_is_made_does_not_read_what_its_memory_held() -> None:
    found = recorded(lambda: torch.ao.nn.quantized.dynamic.Linear(2, 3))
    assert found.named("quantized.linear_prepack")[-1].values("input") == []
    weight = torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)
    packed = recorded(lambda: torch.ops.quantized.linear_prepack(weight))
    assert len(packed.one("quantized.linear_prepack").values("input")) == 1
    read_it = recorded(lambda: torch.ops.quantized.embedding_bag_byte_prepack(torch.empty(2, 4)))
    assert read_it.one("quantized.embedding_bag_byte_prepack").origins()[0].startswith("uninitialised ")


def test_a_part_that_is_written_does_not_make_the_rest_initialised() -> None:
    def half() -> Tensor:
        x = torch.empty(4)
        x[:2] = 1.0
        x[1:2].add_(1.0)
        return x.abs()

    found = recorded(half)
    assert found.one("fill_").values("output") == [("float32[2]", "")]  # what is written wholly is hashed
    assert found.one("add_").values("output") == []
    assert found.one("abs").origins()[0].startswith("uninitialised")


def test_memory_is_initialised_once_all_of_it_was_written() -> None:
    def whole() -> Tensor:
        return torch.empty(4).fill_(1.0).abs()

    assert recorded(whole).one("abs").origins() == []


def test_a_write_into_a_part_of_uninitialised_memory_by_index_is_not_hashed() -> None:
    def indexed() -> None:
        torch.empty(4).index_put_((torch.tensor([0]),), torch.ones(1))

    assert recorded(indexed).one("index_put_").values("output") == []


def test_numbers_are_recorded_as_values_and_choices_as_text() -> None:
    entry = recorded(lambda: torch.ones(2, 3).add(2.5, alpha=3).softmax(dim=1)).one("add")
    assert entry.values("number") == [("float", "other"), ("int", "alpha")]
    assert "dim=1" in recorded(lambda: torch.ones(2, 3).softmax(dim=1)).one("_softmax").site.arguments


def test_sites_are_the_same_where_only_floats_change() -> None:
    x = [torch.ones(2), torch.ones(3)]

    def steps(count: int) -> Recorded:
        def body() -> None:
            for step in range(count):
                rate = 1 / (step + 2)
                torch._foreach_mul_(x, rate)
                torch._foreach_add_(x, [rate, rate + 1.0])
                torch._foreach_addcmul_(x, x, x, [rate, rate])
                x[0].mul_(rate).add_(x[0], alpha=rate).clamp_(min=rate).lerp_(x[0], rate)
                torch.nn.functional.leaky_relu(x[0], rate).pow(rate)
                torch.full((2,), rate)
                torch.nn.functional.dropout(x[0], rate)

        return recorded(body)

    assert len(steps(2).sites) == len(steps(9).sites)


def test_a_schema_is_read_once_for_all() -> None:
    operation = Operation(torch.ops.aten.copy_.default)
    assert (operation.name, operation.overwrites, operation.is_view) == ("aten.copy_.default", True, False)
    assert [argument.is_not_read for argument in operation.arguments] == [True, False, False]
    assert Operation(torch.ops.aten.t.default).is_view
    assert Operation(torch.ops.aten.rand.default).draws
    assert Operation(torch.ops.aten.lift_fresh.default).is_from_python
