"""The lines for MLflow, where that is installed: `tox -e mlflow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .tracked import track


@pytest.mark.filterwarnings("default")  # its own
def test_the_lines_for_mlflow_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow  # here: the suite looks for examples in every module

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    runs = []

    @contextmanager
    def started() -> Iterator[Mapping[str, Any]]:
        with mlflow.start_run(run_name="named") as tracked:
            runs.append(tracked.info.artifact_uri)
            yield {"mlflow": mlflow}

    logged = track("MLflow", tmp_path, started())
    report, checkpoint = (
        mlflow.artifacts.load_dict(f"{runs[0]}/{name}") for name in ("reproducible.json", "checkpoint-1.json")
    )
    assert mlflow.artifacts.load_dict(f"{runs[0]}/manifest.json")["seed.torch"] == 7
    assert report == logged["report"].data | {"open": True}
    assert checkpoint == {"steps": 1, "epoch": 0, "model": logged["model"]}
