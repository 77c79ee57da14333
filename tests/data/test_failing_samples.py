"""An exception out of a dataset says which sample it is of, and how that one is made again."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from deterministic import make_loader
from deterministic.errors import annotate

WORKERS = [{}, {"num_workers": 1}]
HAS_NOTES = sys.version_info >= (3, 11)


class Fails:
    """Has one row that cannot be made, in which it fails by `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 2:
            raise self.error or ValueError("this row is damaged")
        return index


class FailsInBatches(Fails):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [self[index] for index in indices]


def said(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


@pytest.mark.parametrize("workers", WORKERS, ids=str)
def test_the_error_names_epoch_index_and_occurrence(workers: dict[str, Any]) -> None:
    loader = make_loader(Fails(), 2, sampler=[2, 0, 1, 2], seed=0, **workers)
    loader.set_epoch(3)
    batches = iter(loader)
    with pytest.raises(ValueError, match="this row is damaged") as caught:
        next(batches)
    note = "while making index 2 in epoch 3, occurrence 0; loader.replay(3, 2) makes it again"
    assert said(caught.value).count(note) == 1
    with pytest.raises(ValueError, match="this row is damaged") as caught:
        next(batches)
    assert "index 2 in epoch 3, occurrence 1; loader.replay(3, 2, 1) makes" in said(caught.value)
    with pytest.raises(ValueError, match="this row is damaged") as caught:
        loader.replay(3, 2, 1)
    assert "occurrence 1; loader.replay(3, 2, 1)" in said(caught.value)


@pytest.mark.parametrize("workers", WORKERS, ids=str)
def test_the_error_of_a_whole_batch_names_its_first_index(workers: dict[str, Any]) -> None:
    loader = make_loader(FailsInBatches(), 2, sampler=[1, 2], seed=0, **workers)
    with pytest.raises(ValueError, match="damaged") as caught:
        list(loader)
    assert "while making the batch that begins with index 1 in epoch 0" in said(caught.value)


def test_a_note_is_added_once_and_a_long_index_is_cut() -> None:
    error = ValueError("damaged")
    loader = make_loader(Fails(error), None, sampler=[2, 2], seed=0)
    for _ in range(2):
        loader.set_epoch(0)
        with pytest.raises(ValueError, match="damaged"):
            next(iter(loader))
    assert said(error).count("while making") == 1

    class Words(Fails):
        def __getitem__(self, index: Any) -> int:
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged") as caught:
        list(make_loader(Words(), None, sampler=["x" * 10_000], seed=0))
    assert len(said(caught.value)) < 1000


def test_an_error_is_the_one_that_it_was() -> None:
    error = KeyError("row")
    with pytest.raises(KeyError) as caught:
        list(make_loader(Fails(error), seed=0))
    assert caught.value is error
    assert error.args == ("row",)


def test_an_error_that_is_more_than_a_text_keeps_its_arguments() -> None:
    found = []
    for error in (OSError(2, "gone"), KeyError("a"), ValueError(1, 2), ValueError("text")):
        annotate(error, "a note")
        annotate(error, "a note")
        found.append(said(error).count("a note"))
    assert found == ([1, 1, 1, 1] if HAS_NOTES else [0, 0, 0, 1])
