"""Tensors of every kind come back bit for bit; memory that tensors share is written once, and is shared again."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from deterministic import load_checkpoint, save_checkpoint
from deterministic.checkpoint.container import read, write
from deterministic.checkpoint.tensors import DTYPES, LoadedTensors, StoredTensors
from deterministic.errors import CheckpointError

from .written import assert_same, assert_same_tensor, raw, there_and_back

pytestmark = pytest.mark.filterwarnings("ignore")  # of what torch calls prototypes

STRIDED = {name: dtype for name, dtype in DTYPES.items() if not name.startswith(("qint", "quint"))}


def data_bytes(path: Path, prefix: str = "objects.value") -> int:
    """Return how many bytes a file has for the tensors of a value."""
    sizes = read(path).sizes
    return sum(size for name, size in sizes.items() if name.startswith(prefix))


@pytest.mark.parametrize("dtype", STRIDED.values(), ids=STRIDED.keys())
def test_every_dtype_comes_back_with_all_its_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.arange(256, dtype=torch.int64).to(torch.uint8)
    values = values.clamp(max=1) if dtype is torch.bool else values
    tensor = values.view(dtype)
    found = there_and_back(tmp_path / "a", [tensor, tensor[:0], tensor[3]])
    for one, other in zip([tensor, tensor[:0], tensor[3]], found, strict=True):
        assert_same_tensor(one, other)


def rising(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape).to(dtype)


def coalesced() -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[2, 0, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,)).coalesce()


def nan_payload() -> Tensor:
    return torch.tensor([0x7FC00123, 0x7F800001, -1, -(2**31)], dtype=torch.int32).view(torch.float32)


BLOCKS = rising(4, 6)
AXIS = torch.tensor([0.1, 0.25, 3.0], dtype=torch.float64)


def all_tensors() -> dict[str, Tensor]:
    with warnings.catch_warnings():  # of what torch calls prototypes
        warnings.simplefilter("ignore")
        return {
            "0-dim": torch.tensor(1.5),
            "empty": torch.empty(0),
            "empty of a shape": torch.empty(2, 0, 3, dtype=torch.int16),
            "special": torch.tensor([math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-45]),
            "nan payload": nan_payload(),
            "transposed": rising(3, 4).t(),
            "stepped": rising(10)[1::3],
            "channels last": rising(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "expanded": rising(3, 1).expand(3, 1000),
            "expanded number": torch.tensor(2.0).expand(5, 5),
            "overlapping": rising(8).as_strided((3, 4), (1, 1), 1),
            "gaps": rising(20).as_strided((2, 2), (9, 3), 1),
            "conjugated": torch.complex(rising(3), rising(3)).conj(),
            "negated": torch.complex(rising(3), rising(3)).conj().imag,
            "requires grad": rising(3).requires_grad_(),
            "not a leaf": rising(3).requires_grad_() * 2,
            "complex half": torch.tensor([1 + 2j], dtype=torch.complex32),
            "coo": coalesced(),
            "coo uncoalesced": torch.sparse_coo_tensor(torch.tensor([[2, 0, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,)),
            "coo hybrid": torch.sparse_coo_tensor(torch.tensor([[1, 0]]), rising(2, 3), (2, 3)),
            "coo empty": torch.sparse_coo_tensor(torch.empty(2, 0, dtype=torch.int64), torch.empty(0), (3, 2)),
            "coo requires grad": coalesced().requires_grad_(),
            "csr": BLOCKS.to_sparse_csr(),
            "csc": BLOCKS.to_sparse_csc(),
            "bsr": BLOCKS.to_sparse_bsr((2, 3)),
            "bsc": BLOCKS.to_sparse_bsc((2, 3)),
            "csr of a batch": torch.stack([BLOCKS, BLOCKS + 1]).add(1).to_sparse_csr(),
            "csr of int32": torch.sparse_csr_tensor(
                torch.tensor([0, 1], dtype=torch.int32),
                torch.tensor([1], dtype=torch.int32),
                torch.tensor([5.0]),
                (1, 2),
            ),
            "quantized": torch.quantize_per_tensor(rising(3, 4), 0.1, 3, torch.quint8),
            "quantized transposed": torch.quantize_per_tensor(rising(3, 4), 0.1, 3, torch.qint32).t(),
            "quantized per channel": torch.quantize_per_channel(
                rising(3, 4), AXIS, torch.tensor([0, 1, -2]), 0, torch.qint8
            ),
            "quantized per column": torch.quantize_per_channel(
                rising(4, 3), AXIS, torch.tensor([0, 1, -2]), 1, torch.qint8
            ),
            "quantized float zeros": torch.quantize_per_channel(
                rising(3, 4), AXIS.float(), torch.tensor([0.0, 1.5, -2.0]), 0, torch.quint8
            ),
            "nested": torch.nested.nested_tensor([rising(2, 3), rising(1, 3)]),
            "nested of doubles": torch.nested.nested_tensor([rising(2), rising(0)], dtype=torch.float64),
            "jagged": torch.nested.nested_tensor([rising(2, 3), rising(1, 3)], layout=torch.jagged),
            "jagged with holes": torch.nested.narrow(
                rising(3, 4), 1, torch.tensor([0, 1, 0]), torch.tensor([2, 1, 3]), layout=torch.jagged
            ),
            "jagged requires grad": torch.nested.nested_tensor(
                [rising(2), rising(3)], layout=torch.jagged, requires_grad=True
            ),
        }


TENSORS = all_tensors()


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS.keys())
def test_a_tensor_comes_back(tensor: Tensor, tmp_path: Path) -> None:
    found = there_and_back(tmp_path / "a", tensor)
    assert_same_tensor(tensor, found)
    if tensor.is_quantized:
        assert tensor.qscheme() == found.qscheme()
        assert raw(tensor.dequantize()) == raw(found.dequantize())
    if tensor.layout is torch.sparse_coo:
        assert tensor.is_coalesced() == found.is_coalesced()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.int64, torch.bool])
def test_a_zero_without_memory_comes_back_as_zeros(dtype: torch.dtype, tmp_path: Path) -> None:
    zero = torch._efficientzerotensor(100, 3, dtype=dtype)
    assert zero._is_zerotensor()
    filled = torch.full((100, 3), 7.0)  # memory that may be given to what is not initialised
    del filled
    for tensor in (zero, zero[1:], zero.t(), zero.conj()):
        found = there_and_back(tmp_path / "a", tensor)
        assert found.dtype == dtype
        assert torch.equal(found, torch.zeros(tensor.shape, dtype=dtype))


def test_how_a_tensor_lies_in_memory_comes_back(tmp_path: Path) -> None:
    for name in ("transposed", "stepped", "channels last", "gaps"):
        assert there_and_back(tmp_path / "a", TENSORS[name]).stride() == TENSORS[name].stride()


def test_what_was_expanded_is_written_once_and_can_be_written_to(tmp_path: Path) -> None:
    found = there_and_back(tmp_path / "a", torch.arange(3.0)[:, None].expand(3, 4))
    found[0, 0] = 7
    assert found[0].tolist() == [7, 0, 0, 0]


def test_tensors_that_share_memory_share_it_again_and_it_is_written_once(tmp_path: Path) -> None:
    base = rising(100, 10)
    value = {"whole": base, "again": base, "row": base[3], "column": base[:, 2], "flat": base.view(-1), "own": base + 0}
    found = there_and_back(tmp_path / "a", value)
    assert data_bytes(tmp_path / "a") == 2 * base.nbytes
    for name in value:
        assert_same_tensor(value[name], found[name])
    found["whole"][3, 2] = -1
    assert found["again"][3, 2] == found["row"][2] == found["column"][3] == found["flat"][32] == -1
    assert found["own"][3, 2] == 32


def test_tensors_of_several_dtypes_share_memory_again(tmp_path: Path) -> None:
    base = rising(8)
    found = there_and_back(tmp_path / "a", [base, base.view(torch.int32), base.view(torch.uint8)[5:7]])
    assert data_bytes(tmp_path / "a") == base.nbytes
    found[1][1] = 0
    assert found[0][1] == 0
    assert found[2].tolist() == [0, 0]


@pytest.mark.parametrize("start", [0, 1, 3, 4, 999_000])
def test_of_a_large_memory_the_range_that_is_used_is_written(start: int, tmp_path: Path) -> None:
    part = rising(1_000_000)[start : start + 10]
    found = there_and_back(tmp_path / "a", part)
    assert_same_tensor(part, found)
    assert part.nbytes <= data_bytes(tmp_path / "a") < part.nbytes + 16
    assert found.untyped_storage().nbytes() < part.nbytes + 16


def test_the_range_reaches_from_the_first_to_the_last_that_is_used(tmp_path: Path) -> None:
    base = rising(1000)
    found = there_and_back(tmp_path / "a", [base[500:510], base[100:101], base[300:0]])
    assert [one.tolist() for one in found] == [base[500:510].tolist(), [100.0], []]
    assert data_bytes(tmp_path / "a") == 4 * (510 - 100)


def test_weights_that_are_tied_come_back_tied(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(rising(4, 4))
    found = there_and_back(tmp_path / "a", {"in": weight, "out": weight.t()})
    assert data_bytes(tmp_path / "a") == weight.nbytes
    assert found["in"].data_ptr() == found["out"].data_ptr()
    assert found["in"].requires_grad


def test_parts_that_would_have_one_name_have_several() -> None:
    stored = StoredTensors()
    names = ["a (2)", "a", "a", "a (2)"]
    described = [stored.describe(torch.full((2,), float(i)), name) for i, name in enumerate(names)]
    parts = stored.parts()
    data = {part.name: part.memory for part in parts}
    assert len(data) == 4
    loaded = LoadedTensors([(part.name, part.start) for part in parts], data)
    assert [loaded.tensor(one).tolist() for one in described] == [[float(i)] * 2 for i in range(4)]


class Own(Tensor):
    pass


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.empty(3)


REFUSED: dict[str, Any] = {
    "meta": lambda: torch.empty(2, device="meta"),
    "FakeTensor": fake,
    "Own": lambda: torch.zeros(2).as_subclass(Own),
    "UninitializedParameter": lambda: torch.nn.LazyLinear(2).weight,
    "70 dimensions": lambda: torch.zeros([1] * 70),
    "transposed": lambda: torch.nested.nested_tensor([rising(2, 3)], layout=torch.jagged).transpose(1, 2),
    "nested tensor of nothing": lambda: torch.nested.nested_tensor([], dtype=torch.float64),
    "quint4x2": lambda: torch.quantize_per_channel(rising(3, 4), AXIS.float(), torch.zeros(3), 0, torch.quint4x2),
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_tensor_that_cannot_be_stored_is_refused_before_anything_is_written(words: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"as it was")
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "a", value={"fine": torch.zeros(2), "it": REFUSED[words]()})
    assert str(caught.value).startswith("objects.value.value.it cannot be stored in a checkpoint; nothing was written")
    assert words in str(caught.value)
    assert (tmp_path / "a").read_bytes() == b"as it was"
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


def test_a_tensor_is_stored_and_loaded_past_modes_that_are_active(tmp_path: Path) -> None:
    with FakeTensorMode():
        write(tmp_path / "a", {}, {"x": TENSORS["special"]})
        found = read(tmp_path / "a").values["x"]
    assert_same_tensor(TENSORS["special"], found)


def test_a_default_device_changes_nothing(tmp_path: Path) -> None:
    with torch.device("meta"):
        write(tmp_path / "a", {}, {"x": [TENSORS["special"], np.arange(3)]})
        found = read(tmp_path / "a").values["x"]
    assert_same([TENSORS["special"], np.arange(3)], found)


def test_the_safetensors_library_reads_the_tensors(tmp_path: Path) -> None:
    dtypes = [torch.float64, torch.bfloat16, torch.bool, torch.int8, torch.uint16, torch.uint64, torch.float8_e5m2]
    value = {str(dtype).split(".")[1]: rising(2, 3).to(dtype) for dtype in dtypes}
    value |= {
        "empty": torch.empty(0, 4),
        "number": torch.tensor(3.5),
        "odd": torch.tensor([1, 2, 3], dtype=torch.uint8),
    }
    with torch.random.fork_rng():
        model = torch.nn.Linear(3, 2)
    save_checkpoint(tmp_path / "a.safetensors", value=value, model=model)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata()["format"] == "deterministic checkpoint 1"
        names = {*file.keys()}
        for name, tensor in value.items():
            assert_same_tensor(tensor, file.get_tensor(f"objects.value.value.{name}"))
        weight = file.get_tensor("objects.model.state.weight")
    assert_same_tensor(model.weight.detach(), weight)
    assert {f"objects.value.value.{name}" for name in value} <= names


def test_the_safetensors_library_finds_the_bytes_of_dtypes_that_it_does_not_know(tmp_path: Path) -> None:
    value = torch.tensor([1 + 2j])
    save_checkpoint(tmp_path / "a.safetensors", value=value)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.get_tensor("objects.value.value").numpy().tobytes() == raw(value)
    assert_same_tensor(value, load_checkpoint(tmp_path / "a.safetensors", value=None)["value"])
