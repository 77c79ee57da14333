"""Tests that other plugins run more than once, or in processes of their own; they note down what they draw."""

from __future__ import annotations

import json
import os
import random

import numpy as np
import pytest
import torch

attempts = 0


def note(name: str, what: object) -> None:
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps([name, what]) + "\n")


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(1).item()]


@pytest.fixture
def data() -> list[float]:
    return draw()


@pytest.mark.reproducible
@pytest.mark.flaky(reruns=2)
def test_rerun(data: list[float]) -> None:
    global attempts
    attempts += 1
    note("rerun", [data, draw()])
    assert torch.are_deterministic_algorithms_enabled()
    assert attempts > 2


@pytest.mark.reproducible
@pytest.mark.repeat(3)
def test_repeated(data: list[float]) -> None:
    note("repeated", [data, draw()])


def test_after_them() -> None:
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.reproducible
def test_in_a_worker(data: list[float]) -> None:
    note("worker", [data, draw()])
    note("where", os.environ.get("PYTEST_XDIST_WORKER"))


@pytest.mark.reproducible
def test_differs() -> None:
    torch.ones(1) * attempts_so_far()


def attempts_so_far() -> int:
    global attempts
    attempts += 1
    return attempts
