"""On two ranks: what Accelerate and Transformers share out, save on rank 0 alone, and restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..ranks import launch

Found = list[dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("ranks")
    launch(2, "tests.integrations.framework_ranks", folder)
    return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("kind", ["accelerate", "checkpoint"])
def test_a_training_that_was_stopped_ends_as_the_whole_one(found: Found, kind: str) -> None:
    assert [rank[kind] for rank in found] == [[True] * 3] * 2


def test_generators_that_rank_0_alone_has_saved_are_refused_on_the_other(found: Found) -> None:
    assert "saved by: rank 0\n  here: rank 1" in found[1]["run"]


@pytest.mark.parametrize("kind", ["Bare", "Prepared"])
def test_a_trainer_is_given_each_sample_and_goes_on_exactly(found: Found, kind: str) -> None:
    assert [rank[kind] for rank in found] == [[24, True, True, True]] * 2
