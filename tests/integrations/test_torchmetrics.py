"""torchmetrics: what of a metric a checkpoint has, and what it warns of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics import MeanSquaredError, MetricCollection, wrappers

from deterministic import Checkpoint, fingerprint, load_checkpoint, reproducible, save_checkpoint
from deterministic.errors import NondeterminismWarning

ZERO = torch.zeros(4, 2)

METRICS: dict[str, Callable[[], Any]] = {
    "a metric": MeanSquaredError,
    "a collection": lambda: MetricCollection([MeanSquaredError()]),
    "of several outputs": lambda: wrappers.MultioutputWrapper(MeanSquaredError(), 2),
    "a bootstrap": lambda: wrappers.BootStrapper(MeanSquaredError(), num_bootstraps=2),
}


def persistent(metric: Any) -> Any:
    """Return it with the states of all of its metrics in its state: of a wrapper, `persistent(True)` does not do that.

    Finding torchmetrics_wrappers_are_saved_without_their_metrics.
    """
    for part in metric.modules():
        if hasattr(part, "persistent"):
            part.persistent(True)
    return metric


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_without_its_states_is_warned_of_and_one_with_them_is_resumed(name: str, tmp_path: Path) -> None:
    with pytest.warns(NondeterminismWarning, match="states of metrics(.|\n)*also of those inside of wrappers"):
        Checkpoint(tmp_path / "lost", metric=METRICS[name]()).close()
    saved, resumed = persistent(METRICS[name]()), persistent(METRICS[name]())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Checkpoint(tmp_path / "saved", metric=saved).close()
    unused = fingerprint(resumed.state_dict())
    with reproducible(seed=0):  # the bootstrap draws
        saved.update(ZERO + 1, ZERO)
    save_checkpoint(tmp_path / "file", metric=saved)
    load_checkpoint(tmp_path / "file", metric=resumed)
    assert fingerprint(resumed.state_dict()) == fingerprint(saved.state_dict()) != unused


@pytest.mark.parametrize(
    ("make", "attribute"),
    [
        (lambda: wrappers.Running(MeanSquaredError(), window=4), "_num_vals_seen of Running"),
        (lambda: wrappers.MinMaxMetric(MeanSquaredError()), "min_val of MinMaxMetric"),
    ],
    ids=["running", "extremes"],
)
def test_what_a_metric_keeps_in_plain_attributes_is_warned_of(
    make: Callable[[], Any], attribute: str, tmp_path: Path
) -> None:
    with pytest.warns(NondeterminismWarning, match=f"plain attributes(.|\n)*{attribute}"):
        Checkpoint(tmp_path, metric=torch.nn.ModuleList([persistent(make())])).close()
