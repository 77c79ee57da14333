"""What the ranks do not agree on, or cannot do, is refused on all of them with the same words; none is left waiting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ..ranks import launch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch was built without torch.distributed"
)

EXPECTED = {
    "counts": "the ranks do not agree on what buffers count\n  rank 0: {'counts': ",
    "copied": "done",
    "copied whole": "AveragedModel(model.module)",
    "shards": "the ranks do not agree on shards\n  rank 0: 4\n  rank 1: 8",
    "one rank alone": "rank 0: ValueError: the number of ranks does not divide shards\n  shards: 3\n  ranks: 2",
    "too few": "the number of ranks does not divide shards\n  shards: 1\n  ranks: 2",
    "no power of two": "a rank's shards are no power of two\n  shards: 12\n  ranks: 2",
    "no wrapper": "found: Linear on 2 ranks",
    "a hook": "the model has a communication hook already",
    "ordered": "the model has a communication hook already",
    "a hook on one": "rank 1: DeterministicError: the model has a communication hook already",
    "again": "is world-invariant already",
    "rows": "the ranks do not agree on the samples\n  rank 0: 4\n  rank 1: 8",
    "draws": "the ranks do not agree on the draws",
    "uneven": "found: 12 samples on 2 ranks, 6 on each",
    "no batch on one": "rank 0: DeterministicError: a batch cannot be cut into shards",
}


def test_all_ranks_refuse_with_the_same_words(tmp_path: Path) -> None:
    launch(2, "tests.distributed.refusals", tmp_path)
    told, others = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told == others
    assert {name: text for name, text in EXPECTED.items() if text not in told[name]} == {}
    assert told.keys() == EXPECTED.keys()


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_an_average_over_the_ranks_has_the_order_of_the_tree_at_any_length(ranks: int) -> None:
    launch(ranks, "tests.distributed.sums")
