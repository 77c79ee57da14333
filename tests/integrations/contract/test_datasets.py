"""Hugging Face's datasets: streams with a state of their own, and a shuffle buffer that is not in it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from deterministic import make_loader
from deterministic.errors import NondeterminismWarning
from deterministic.testing import check_dataset, check_stream

from ...properties import on_demand
from .killed import cases, killed_anywhere


def numbers() -> Iterator[dict[str, int]]:
    for number in range(8):
        yield {"number": number}


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Return what streams four files of three rows."""
    folder = tmp_path_factory.mktemp("rows")
    files = [folder / f"{part}.jsonl" for part in range(4)]
    for part, file in enumerate(files):
        file.write_text("".join(json.dumps({"number": 10 * part + row}) + "\n" for row in range(3)))
    names = [str(file) for file in files]
    return lambda: datasets.load_dataset(
        "json", data_files=names, split="train", streaming=True, cache_dir=str(folder / "cache")
    )


def jittered(row: dict[str, int]) -> dict[str, float]:
    return {"number": row["number"] + random.random()}


CHANGES: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda stream: stream,
    "mapped": lambda stream: stream.map(lambda row: {"number": row["number"] + 1}),
    "filtered": lambda stream: stream.filter(lambda row: row["number"] % 2 == 0),
    "in torch's format": lambda stream: stream.with_format("torch"),
    "interleaved, then mapped": lambda stream: datasets.interleave_datasets([stream, stream.skip(2)]).map(jittered),
    "with shuffled files": lambda stream: stream.shuffle(seed=3, buffer_size=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stream_of_files_is_exact(change: str, streamed: Callable[[], Any]) -> None:
    assert check_stream(lambda: CHANGES[change](streamed()), num_workers=0) == []


def test_a_stream_of_a_generator_is_exact() -> None:
    assert check_stream(lambda: datasets.IterableDataset.from_generator(numbers), num_workers=0) == []


@pytest.mark.parametrize("workers", [{"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_a_stream_in_a_worker_is_exact(streamed: Callable[[], Any], workers: dict[str, Any]) -> None:
    assert check_stream(streamed, **workers) == []


def test_a_shuffle_buffer_is_said_to_be_lost_within_an_epoch_and_nowhere_else(streamed: Callable[[], Any]) -> None:
    told = check_stream(lambda: streamed().shuffle(seed=1, buffer_size=4), num_workers=0)
    assert told
    assert {"within" in line and "shuffle buffer" in line for line in told} == {True}


def test_a_shuffle_buffer_that_is_loaded_again_is_exact(streamed: Callable[[], Any]) -> None:
    make = lambda: streamed().shuffle(seed=1, buffer_size=4)  # noqa: E731
    assert cases(check_stream(make, num_workers=0, stream_state="ignore")) == set()


SEVERAL: dict[str, Callable[[list[Any]], Any]] = {
    "concatenated": datasets.concatenate_datasets,
    "in turns": datasets.interleave_datasets,
    "drawn": lambda streams: datasets.interleave_datasets(streams, probabilities=[0.5, 0.5], seed=3),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_shuffle_buffer_in_one_of_several_streams_is_said_to_be_lost(name: str, streamed: Callable[[], Any]) -> None:
    stopped = make_loader(SEVERAL[name]([streamed().shuffle(seed=1, buffer_size=4), streamed()]), batch_size=2, seed=0)
    next(iter(stopped))
    with pytest.warns(NondeterminismWarning, match="leaves out its shuffle buffer"):
        stopped.state_dict()


def noisy(rows: dict[str, list[int]]) -> dict[str, list[float]]:
    return {"number": [number + random.random() for number in rows["number"]]}


def doubled(rows: dict[str, list[int]]) -> dict[str, list[int]]:
    return {"number": [2 * number for number in rows["number"]]}


def plus_one(row: dict[str, int]) -> dict[str, int]:
    return {"number": row["number"] + 1}


@pytest.mark.parametrize("workers", [{"num_workers": 0}, {"num_workers": 1}], ids=str)
def test_draws_for_several_rows_at_once_are_said_to_be_lost_within_an_epoch(
    streamed: Callable[[], Any], workers: dict[str, Any]
) -> None:
    told = check_stream(lambda: streamed().map(noisy, batched=True, batch_size=5), **workers)
    assert told
    assert all("within" in line and "what it has drawn for samples" in line for line in told)
    ignoring = check_stream(lambda: streamed().map(noisy, batched=True), stream_state="ignore", num_workers=0)
    assert cases(ignoring) == set()


def drawn() -> Iterator[dict[str, float]]:
    for number in range(8):
        yield {"number": number + random.random()}


def test_draws_of_a_generator_are_said_to_be_lost_within_an_epoch() -> None:
    told = check_stream(lambda: datasets.IterableDataset.from_generator(drawn), num_workers=0)
    assert told
    assert all("within" in line and "what it has drawn for samples" in line for line in told)
    make = lambda: datasets.IterableDataset.from_generator(drawn)  # noqa: E731
    assert cases(check_stream(make, stream_state="ignore", num_workers=0)) == set()


@pytest.fixture
def generator_is_put_back() -> Iterator[None]:
    """Put Python's generator back: what reads ahead draws between two samples, and concatenating asks for a row."""
    state = random.getstate()
    yield
    random.setstate(state)


def in_shards(shards: list[int]) -> Iterator[dict[str, float]]:
    for shard in shards:
        for row in range(3):
            yield {"number": 10.0 * shard + row}


def made_of(shards: int) -> Any:
    return datasets.IterableDataset.from_generator(in_shards, gen_kwargs={"shards": [*range(shards)]})


RACING: dict[str, Callable[[], Any]] = {
    "mapped, then interleaved": lambda: datasets.interleave_datasets([made_of(1).map(jittered), made_of(1)]),
    "mapped, then drawn": lambda: SEVERAL["drawn"]([made_of(1).map(jittered), made_of(1)]),
    "mapped, then shuffled": lambda: made_of(2).map(jittered).shuffle(seed=1, buffer_size=4),
    "mapped, then shuffled, one shard": lambda: made_of(1).map(jittered).shuffle(seed=1, buffer_size=4),
    "interleaved, then mapped, twice": lambda: datasets.interleave_datasets(
        [SEVERAL["in turns"]([made_of(1), made_of(1)]).map(jittered), made_of(1)]
    ),
}


@pytest.mark.usefixtures("generator_is_put_back")
@pytest.mark.parametrize("name", RACING)
def test_draws_of_threads_that_read_ahead_are_warned_of(name: str) -> None:
    """In datasets 5.2: finding datasets_interleaved_streams_draw_by_who_is_slower."""
    loader = make_loader(RACING[name](), batch_size=2, seed=0)
    with pytest.warns(NondeterminismWarning, match="read ahead on several threads") as told:
        assert len([*loader, *loader]) > 2
    assert len([one for one in told if "several threads" in str(one.message)]) == 1


NOT_RACING: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "interleaved, then mapped": lambda streamed: CHANGES["interleaved, then mapped"](streamed()),
    "shuffled, then mapped": lambda streamed: streamed().shuffle(seed=1, buffer_size=4).map(jittered),
    "without draws": lambda streamed: SEVERAL["in turns"]([made_of(1).map(plus_one), made_of(1)]),
    "one after the other": lambda streamed: SEVERAL["concatenated"]([made_of(1).map(jittered), made_of(1)]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("generator_is_put_back")
@pytest.mark.parametrize("name", NOT_RACING)
def test_what_reads_ahead_without_draws_or_draws_without_reading_ahead_is_not(
    name: str, streamed: Callable[[], Any]
) -> None:
    assert len([*make_loader(NOT_RACING[name](streamed), batch_size=2, seed=0)]) > 1


@pytest.mark.filterwarnings("error")
def test_rows_that_are_mapped_at_once_without_draws_are_exact(streamed: Callable[[], Any]) -> None:
    assert check_stream(lambda: streamed().map(doubled, batched=True, batch_size=5), num_workers=0) == []
    stopped = make_loader(streamed().map(doubled, batched=True, batch_size=5), batch_size=2, seed=0)
    next(iter(stopped))
    stopped.state_dict()


def test_a_map_style_dataset_is_a_function_of_the_index() -> None:
    made = datasets.Dataset.from_dict({"number": list(range(6))})
    check_dataset(lambda: made)
    check_dataset(lambda: made.with_format("torch"))


@pytest.mark.parametrize("change", ["as it is", *on_demand(sorted(CHANGES.keys() - {"as it is"}))])
def test_a_killed_training_ends_with_the_same_bits(change: str, streamed: Callable[[], Any], tmp_path: Path) -> None:
    make = lambda: make_loader(CHANGES[change](streamed()), batch_size=2, collate_fn=list, seed=0)  # noqa: E731
    assert killed_anywhere(make, tmp_path) == {"exact"}
