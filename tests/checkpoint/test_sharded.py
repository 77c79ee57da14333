"""Objects that are spread over ranks are saved, and loaded on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ..ranks import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]
KINDS = ("fsdp", "hsdp", "tp", "tp+fsdp")


def run(folder: Path, ranks: int, job: str, *kinds: str) -> list[dict[str, Any]]:
    results = [folder / f"{rank}.json" for rank in range(ranks)]
    launch(ranks, "tests.checkpoint.sharded_states", folder, job, *kinds)
    return [json.loads(result.read_text()) for result in results]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a folder with what four ranks have saved, and the fingerprint of each."""
    folder = tmp_path_factory.mktemp("saved")
    found = run(folder, 4, "save", *KINDS)
    assert all(other == found[0] for other in found)
    return folder, found[0]


@pytest.mark.parametrize(
    ("ranks", "kinds"),
    [
        (4, (*KINDS, "hsdp<fsdp", "tp+fsdp<tp", "narrow<hsdp")),
        (3, ("fsdp", "fsdp<hsdp", "narrow<fsdp")),
        (2, ("fsdp", "hsdp<fsdp", "tp", "tp+fsdp", "plain<tp+fsdp")),
        (1, ("fsdp", "tp<tp+fsdp", "narrow<fsdp")),
    ],
    ids=["on as many", "on three", "on half as many", "on one"],
)
def test_what_four_ranks_saved_is_loaded_on_any_number_spread_in_any_way(
    saved: tuple[Path, dict[str, Any]], ranks: int, kinds: tuple[str, ...]
) -> None:
    folder, expected = saved
    for found in run(folder, ranks, "load", *kinds):
        assert found == {kind: expected[kind.rpartition("<")[2]] for kind in kinds}


def test_it_is_loaded_without_any_ranks(saved: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = saved
    assert run(folder, 1, "load alone", "narrow<fsdp") == [{"narrow<fsdp": expected["fsdp"]}]


def test_what_one_process_saved_is_cut_for_the_ranks_and_what_they_save_there_replaces_it(tmp_path: Path) -> None:
    (alone,) = run(tmp_path, 1, "save alone", "narrow")
    (tmp_path / "narrow.safetensors").rename(tmp_path / "fsdp.safetensors")
    expected = alone["narrow"]
    for found in run(tmp_path, 3, "load", "fsdp"):
        assert found == {"fsdp": expected}
    counts = []
    for job, ranks in (("save", 3), ("save", 2), ("save apart", 2)):
        run(tmp_path, ranks, job, "fsdp")
        counts.append(len([*tmp_path.glob("fsdp.rank*.safetensors")]))
    assert counts == [3, 2, 2]
    for found in run(tmp_path, 3, "try", "fsdp"):
        assert found["fsdp"] == (
            f"{tmp_path}/fsdp.safetensors was saved by 2 ranks, and cannot be shared out to 3\n"
            "  generators: each rank had its own\n"
            "Resume on as many ranks. For any number leave out per_rank=True, and let all ranks have the same. "
            'To go on with what rank 0 had: on_mismatch="warn".'
        )


def test_what_cannot_be_saved_or_loaded_is_refused_on_all_ranks_by_its_name(tmp_path: Path) -> None:
    run(tmp_path, 2, "save", "fsdp")
    first, second = run(tmp_path, 2, "refuse")
    (of_rank,) = tmp_path.glob("fsdp.rank1.*")
    elsewhere = "this failed on some ranks, and all ranks have to go on together\n  rank 1: CheckpointError: "
    expected = {
        "a sum": ("sum.value cannot be stored", "found: a tensor that is the sum of what the ranks have: P"),
        "elsewhere": ("other.value cannot be stored", "found: a tensor that is on the ranks [0] alone"),
        "replicas": ("what the ranks have does not", "other.value: ranks 0, 1 have other values of the same part"),
        "shapes": ("what the ranks have does not", "other.value: float32[4, 1] on some ranks, on others float32[4, 2]"),
        "names": ("what the ranks have does not", "only_0: passed on some ranks, and not on 1\n  only_1: passed on"),
        "sharded": ("what the ranks have does not", "other.value: sharded on some ranks, and not on 0"),
        "code": ("other.value cannot be stored", "found: a value of builtin_function_or_method"),
        "other shape": ("fsdp.safetensors does not fit", "model.1.weight: saved float32[7, 5], here float32[9, 5]"),
        "other names": ("fsdp.safetensors does not fit", "ema: passed, but not saved"),
        "damaged": (f"the checkpoint {of_rank} is damaged", "found: bytes with the checksum"),
        "cut": (f"the checkpoint {of_rank} is damaged", "found: a header that is wrong"),
        "missing": (f"the checkpoint {of_rank} cannot be read", "No such file"),
    }
    for name, texts in expected.items():
        assert all(text in second[name] for text in texts), second[name]
        is_on_one = name in ("elsewhere", "code", "damaged", "cut", "missing")
        assert first[name].startswith(f"{elsewhere}{texts[0]}") if is_on_one else first[name] == second[name]
    for found in (first, second):
        # What it was given is where the files are mapped, and they are as they were.
        assert "model is not what was saved" in found["in place"]
        # What a rank finds later than another one is not told: nobody has gone so far in turn.
        assert all(found[f"{name}, and another shape"] == found[name] for name in ("damaged", "cut", "missing"))
        assert (found["rows"], found["is as before"], found["whole again"]) == (True, True, "done")
        assert found["is apart from the files"]
        # Of the save that rank 1 refused, rank 0 has written its own part; no main file names it.
        assert [name.rpartition(".")[0] for name in found["files"]] == ["refused.rank0"]
