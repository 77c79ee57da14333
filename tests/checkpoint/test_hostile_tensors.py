"""Tensors that were made up, in files with a right checksum: each is within its memory, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from .written import Forgery, assert_refused, forged

pytestmark = pytest.mark.filterwarnings("ignore")  # of what torch calls prototypes

HUGE = 2**61


@pytest.fixture
def forgery(tmp_path: Path) -> Forgery:
    return forged(tmp_path / "a", torch.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"storage": -1},
        {"storage": 10**6},
        {"storage": "0"},
        {"storage": True},
        {"storage": 0.0},
        {"storage": None},
        {"dtype": "float99"},
        {"dtype": "os.system"},
        {"dtype": "float64"},
        {"dtype": "qint8"},
        {"dtype": "quint4x2"},
        {"dtype": ["float32"]},
        {"dtype": None},
        {"shape": [-3, -4]},
        {"shape": [-1]},
        {"shape": [3, 5]},
        {"shape": [HUGE, HUGE]},
        {"shape": [HUGE]},
        {"shape": [10**100]},
        {"shape": [3, 4.0]},
        {"shape": ["3", 4]},
        {"shape": [[3], 4]},
        {"shape": 12},
        {"shape": "34"},
        {"shape": {"3": 4}},
        {"shape": None},
        {"shape": [1] * 65 + [3, 4]},
        {"shape": [9] * 10**6},
        {"stride": [4]},
        {"stride": [4, 1, 1]},
        {"stride": [-4, 1]},
        {"stride": [4, 2]},
        {"stride": [HUGE, 1]},
        {"stride": [0, 0]},
        {"stride": [0, 1]},
        {"stride": [True, 1]},
        {"stride": "41"},
        {"offset": -4},
        {"offset": 1},
        {"offset": 4},
        {"offset": HUGE},
        {"offset": "0"},
        {"device": "nowhere"},
        {"device": 5},
        {"device": None},
        {"requires_grad": True, "dtype": "int32"},
        {"layout": "sparse_csr"},
        {"layout": "nothing"},
        {"layout": ["jagged"]},
        {"layout": "quantized"},
        {"layout": "nested"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_tensor_that_is_not_within_its_memory_is_refused(change: dict[str, Any], forgery: Forgery) -> None:
    forgery.replace_value({"$tensor": {**forgery.plain_value()["$tensor"], **change}})
    assert_refused(forgery.path)


@pytest.mark.parametrize("name", ["storage", "dtype", "shape", "offset", "device"])
def test_a_tensor_of_which_something_is_missing_is_refused(name: str, forgery: Forgery) -> None:
    plain = forgery.plain_value()
    del plain["$tensor"][name]
    forgery.replace_value(plain)
    assert_refused(forgery.path)


@pytest.mark.parametrize(
    "entry",
    [
        ["nothing", 0],
        *(["objects.value.value", start] for start in (1, -16, 16, 2**62, "0")),
        ["objects.value.value"],
        [[], 0],
        5,
        None,
    ],
    ids=str,
)
def test_a_table_of_storages_that_does_not_fit_is_refused(entry: Any, forgery: Forgery) -> None:
    table = forgery.text("storages")
    number = forgery.plain_value()["$tensor"]["storage"]
    assert table[number] == ["objects.value.value", 0]
    table[number] = entry
    forgery.replace_text("storages", table)
    assert_refused(forgery.path)


def sparse(layout: str) -> torch.Tensor:
    dense = torch.arange(24.0).reshape(4, 6)
    if layout == "sparse_coo":
        return dense.to_sparse()
    return dense.to_sparse(layout=getattr(torch, layout), blocksize=(2, 3) if layout[-3] == "b" else None)


@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"])
def test_a_sparse_tensor_with_indices_that_are_nowhere_is_refused(layout: str, tmp_path: Path) -> None:
    forgery = forged(tmp_path / "a", sparse(layout))
    whole = forgery.plain_value()["$tensor"]
    for change in (
        {"shape": [1, 2]},
        {"shape": [-4, 6]},
        {"shape": [HUGE, HUGE]},
        {"shape": "46"},
        {"values": whole["values"] | {"shape": [1], "stride": None}},
        {"values": None},
        {"values": whole},
        {"layout": "sparse_nothing"},
    ):
        forgery.replace_value({"$tensor": {**whole, **change}})
        assert_refused(forgery.path)
    for name in ("indices", "crow_indices", "col_indices", "ccol_indices", "row_indices"):
        if name in whole:
            place = json.dumps(forgery.text("storages")[whole[name]["storage"]][0])[1:-1]
            start, stop = forgery.header[place]["data_offsets"]
            for wrong in (b"\xff", b"\x7f"):
                forgery.replace_value({"$tensor": whole})
                forgery.write(data=forgery.data[:start] + wrong * (stop - start) + forgery.data[stop:])
                assert_refused(forgery.path)


def test_indices_that_are_not_coalesced_are_not_said_to_be(tmp_path: Path) -> None:
    tensor = torch.sparse_coo_tensor(torch.tensor([[2, 0, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,))
    forgery = forged(tmp_path / "a", tensor)
    forgery.replace_value({"$tensor": {**forgery.plain_value()["$tensor"], "coalesced": True}})
    assert_refused(forgery.path)


@pytest.mark.parametrize(
    "change", [{"axis": 2}, {"axis": 1}, {"axis": -1}, {"axis": "0"}, {"axis": True}, {"axis": None}]
)
def test_a_quantized_tensor_with_scales_for_others_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    tensor = torch.quantize_per_channel(torch.ones(3, 4), torch.ones(3), torch.zeros(3), 0, torch.qint8)
    forgery = forged(tmp_path / "a", tensor)
    plain = forgery.plain_value()["$tensor"]
    forgery.replace_value({"$tensor": {**plain, **change}})
    assert_refused(forgery.path)
    forgery.replace_value({"$tensor": {**plain, "scales": {**plain["scales"], "shape": [2]}}})
    assert_refused(forgery.path)


@pytest.mark.parametrize(
    "change", [{"scale": "x"}, {"scale": 1}, {"zero_point": "x"}, {"zero_point": 10**30}, {"values": 1}]
)
def test_a_quantized_tensor_without_a_scale_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    forgery = forged(tmp_path / "a", torch.quantize_per_tensor(torch.ones(3), 0.1, 3, torch.qint8))
    forgery.replace_value({"$tensor": {**forgery.plain_value()["$tensor"], **change}})
    assert_refused(forgery.path)


@pytest.mark.parametrize("offsets", [[0, 2, 50], [-1, 2, 3], [0, 3, 2], [0, 2**62, 3]])
def test_a_jagged_tensor_that_is_not_within_its_values_is_refused(offsets: list[int], tmp_path: Path) -> None:
    right = torch.tensor([0, 2, 3])
    forgery = forged(tmp_path / "a", torch.nested.nested_tensor_from_jagged(torch.ones(3, 2), right))
    old, new = right.numpy().tobytes(), torch.tensor(offsets).numpy().tobytes()
    assert forgery.data.count(old) == 1
    forgery.write(data=forgery.data.replace(old, new))
    assert_refused(forgery.path)


def test_a_jagged_tensor_of_a_wrong_kind_is_refused(tmp_path: Path) -> None:
    tensor = torch.nested.nested_tensor_from_jagged(torch.ones(3, 2), torch.tensor([0, 2, 3]))
    forgery = forged(tmp_path / "a", tensor)
    whole = forgery.plain_value()["$tensor"]
    for change in (
        {"offsets": {**whole["offsets"], "shape": [3, 1]}},
        {"offsets": {**whole["offsets"], "shape": []}},
        {"offsets": whole["values"]},
        {"values": {**whole["values"], "shape": []}},
        {"lengths": whole["offsets"]},
        {"lengths": 5},
    ):
        forgery.replace_value({"$tensor": {**whole, **change}})
        assert_refused(forgery.path)
