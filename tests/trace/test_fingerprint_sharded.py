"""A tensor that is spread over ranks has the fingerprint of the whole, on every rank."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deterministic import fingerprint

from ..ranks import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]
KINDS = {1: ("fsdp", "tp"), 3: ("fsdp",), 4: ("fsdp", "hsdp", "tp", "tp+fsdp")}
"""By the number of ranks; what torch itself cannot compute on three of them is left out."""


@pytest.mark.parametrize("ranks", KINDS)
def test_a_sharded_model_has_the_fingerprint_of_the_unsharded_one_on_every_rank(tmp_path: Path, ranks: int) -> None:
    from ..sharded import KINDS as MODELS
    from ..sharded import UNSHARDED

    expected = {kind: fingerprint(MODELS[UNSHARDED[kind]]()) for kind in KINDS[ranks]}
    launch(ranks, "tests.trace.sharded_fingerprints", tmp_path, *KINDS[ranks])
    for rank in range(ranks):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert {kind: found[kind] for kind in expected} == expected
        if rank:
            assert found["elsewhere"].startswith("a sharded tensor is on other ranks alone\n  found: a mesh of the")
            assert 'where: ["weight"]' in found["elsewhere"]
