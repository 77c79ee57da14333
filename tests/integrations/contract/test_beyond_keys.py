"""What no key reaches: state inside compiled code, and places that are state. Found by `check()`, and mended."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import duckdb
import numpy as np
import polars
import pytest
import sentencepiece
import tokenizers
import torch
from scipy.stats import qmc

from deterministic import make_loader, sample_rng
from deterministic.errors import NotReproducibleError


class Samples:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.make()


def seed() -> int:
    return int(sample_rng("numpy").integers(2**31))


def cv2_kmeans(*, is_mended: bool) -> Callable[[], Any]:
    points = np.random.RandomState(0).rand(200, 2).astype(np.float32)

    def make() -> Any:
        if is_mended:
            cv2.setRNGSeed(seed())
        stop = (cv2.TERM_CRITERIA_MAX_ITER, 1, 0.1)
        return cv2.kmeans(points, 8, None, stop, 1, cv2.KMEANS_RANDOM_CENTERS)[2]  # type: ignore[call-overload]

    return make


def sobol(*, is_mended: bool) -> Callable[[], Any]:
    engine = qmc.Sobol(2, rng=np.random.default_rng(0))
    return (lambda: qmc.Sobol(2, rng=seed()).random(1)) if is_mended else lambda: engine.random(1)


def torch_sobol(*, is_mended: bool) -> Callable[[], Any]:
    engine = torch.quasirandom.SobolEngine(2, scramble=True, seed=0)

    def make() -> Any:
        return torch.quasirandom.SobolEngine(2, scramble=True, seed=seed()).draw(1)

    return make if is_mended else lambda: engine.draw(1)


def running(*, is_mended: bool) -> Callable[[], Any]:
    def noise() -> Any:
        own = None if is_mended else np.random.default_rng()
        while True:
            yield (sample_rng("numpy") if own is None else own).random()

    under_way = noise()
    return lambda: next(under_way)


def made_for_each(*, is_mended: bool) -> Callable[[], Any]:
    return lambda: (sample_rng("numpy") if is_mended else np.random.default_rng()).random()


def dropout(*, is_mended: bool) -> Callable[[], Any]:
    model = tokenizers.Tokenizer(tokenizers.models.BPE(dropout=None if is_mended else 0.5))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=100, show_progress=False)
    model.train_from_iterator(["hello there, low, lower, lowest, general"] * 5, trainer)
    return lambda: model.encode("hello lowest general there " * 3).ids


def sampled_pieces(*, is_mended: bool) -> Callable[[], Any]:
    model = io.BytesIO()
    sentences = iter(["hello there, low, lower, lowest, general"] * 50)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=30, hard_vocab_limit=False, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    # Its set_random_generator_seed() makes of a seed something else in each process: findings/sentencepiece_seed_*.
    how: dict[str, Any] = {"enable_sampling": not is_mended, "alpha": 0.1, "nbest_size": -1}
    return lambda: processor.encode("hello lowest general there " * 3, out_type=int, **how)


def shuffled_column(*, is_mended: bool) -> Callable[[], Any]:
    column = polars.Series(range(20))
    return lambda: column.shuffle(seed=seed() if is_mended else None).to_list()


def random_of_a_database(*, is_mended: bool) -> Callable[[], Any]:
    database = duckdb.connect()

    def make() -> Any:
        if is_mended:
            database.execute("SELECT setseed(?)", [sample_rng("numpy").random()])
        return database.execute("SELECT random()").fetchall()

    return make


BEYOND = [
    cv2_kmeans,
    sobol,
    torch_sobol,
    running,
    made_for_each,
    dropout,
    sampled_pieces,
    shuffled_column,
    random_of_a_database,
]


@pytest.mark.parametrize("make", BEYOND)
def test_what_keys_do_not_reach_is_found_and_its_remedy_holds(make: Callable[..., Any]) -> None:
    with pytest.raises(NotReproducibleError, match="gives another sample"):
        make_loader(Samples(make(is_mended=False)), seed=0, collate_fn=list).check()
    make_loader(Samples(make(is_mended=True)), seed=0, collate_fn=list).check()
