"""`verify` of trainings with other people's packages: bit-exact as they are, and a fault is found in its line."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch

from deterministic import verify
from deterministic.trace.comparing.reasons import Reason

from .packaged_trainings import diffusion, generation, inference, regression, reinforced

INSTALLED = Path(torch.__file__).parents[1]


@pytest.fixture(autouse=True)
def in_one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    pyro.clear_param_store()


def needs(training: Callable[..., object]) -> None:
    """Skip what is not installed on Python 3.10."""
    if training in (diffusion, generation):
        pytest.importorskip("diffusers" if training is diffusion else "transformers")


@pytest.mark.parametrize(
    ("training", "arguments", "steps"),
    [
        (inference, (), 3),
        (regression, (), 3),
        (diffusion, (), 1),
        (generation, (), 0),
        (reinforced, (0, "PPO"), 4),
        (reinforced, (0, "A2C"), 2),
    ],
)
def test_a_training_with_a_package_is_bit_exact(
    training: Callable[..., object], arguments: tuple[object, ...], steps: int
) -> None:
    needs(training)
    report = verify(training, *arguments, runs=2)
    assert (report.outcome, report.steps) == ("same", steps), str(report)


@pytest.mark.parametrize(
    ("training", "argument", "reason", "file", "text", "own"),
    [
        pytest.param(
            inference,
            False,
            Reason.CARRIED_OVER,
            "pyro/distributions/distribution.py",
            "super().__call__(",
            "distributions.Normal(where, 1.0)",
            id="pyro's parameter store",
        ),
        pytest.param(
            regression,
            None,
            Reason.OUTSIDE,
            "tests/integrations/packaged_trainings.py",
            "torch.from_numpy(np.random.default_rng(seed)",
            "",
            id="unseeded noise",
        ),
        pytest.param(
            diffusion,
            False,
            Reason.GENERATOR,
            "diffusers/utils/torch_utils.py",
            "torch.randn(",
            "scheduler.step(predicted, now",
            id="an unseeded generator given to diffusers",
        ),
        pytest.param(
            generation,
            True,
            Reason.NUMBER,
            "transformers/generation/logits_process.py",
            "/ self.temperature",
            "made = model.eval().generate(",
            id="a temperature by the clock",
        ),
        pytest.param(
            reinforced,
            None,
            Reason.OUTSIDE,
            "stable_baselines3/common/utils.py",
            "th.as_tensor(obs",
            "made.learn(16)",
            id="an environment that is not seeded",
        ),
    ],
)
def test_a_fault_in_it_is_found_in_the_packages_line_and_in_the_users(
    training: Callable[..., object], argument: object, reason: Reason, file: str, text: str, own: str
) -> None:
    needs(training)
    report = verify(training, argument, runs=2)
    assert report.outcome == "different", str(report)
    assert report.verdict is not None
    assert report.verdict.cause is not None
    assert report.verdict.cause.reason is reason, str(report)
    assert report.divergence is not None
    site: Any = report.divergence.first.site if report.divergence.first else None
    assert site.place.startswith(f"{file}:")
    assert text in site.text
    assert site.text == text_at(site.place)
    if own:
        line = next(line for line in site.callers if line.is_own)
        assert own in line.text
        assert line.text == text_at(line.place)


def text_at(place: str) -> str:
    """Return what truly stands at a place, which is relative to the installed packages or to the working directory."""
    file, _, number = place.rpartition(":")
    path = INSTALLED / file
    return linecache.getline(str(path if path.exists() else file), int(number)).strip()
