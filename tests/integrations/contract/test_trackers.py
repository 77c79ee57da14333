"""Trackers: the documented lines arrive, and a tracked run draws what an untracked one draws."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deterministic import reproducible

from ...lazy import Lazy
from .tracked import PAGE, track

wandb = Lazy("wandb")


def test_the_lines_for_tensorboard_arrive(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    @contextmanager
    def writing() -> Iterator[Mapping[str, Any]]:
        with SummaryWriter(str(tmp_path / "logs")) as writer:
            yield {"writer": writer}

    logged = track("TensorBoard", tmp_path, writing())
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    (report,), (checkpoint,) = (events.Tensors(f"{tag}/text_summary") for tag in ("reproducible", "checkpoint"))
    (manifest,) = events.Tensors("manifest/text_summary")
    assert b"    manifest: " in manifest.tensor_proto.string_val[0]
    text = report.tensor_proto.string_val[0].decode()
    assert text.startswith("    reproducible: seed 7, deterministic=True")
    assert all(line.startswith("    ") for line in text.splitlines() if line)
    assert checkpoint.step == 1
    assert checkpoint.tensor_proto.string_val[0].decode() == f"epoch 0, model {logged['model']}"


@pytest.mark.slow
def test_the_lines_for_wandb_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))

    @contextmanager
    def offline() -> Iterator[Mapping[str, Any]]:
        with wandb.init(project="tracked", mode="offline", dir=str(tmp_path)) as tracked:
            yield {"tracked": tracked}

    logged = track("Weights & Biases", tmp_path, offline())
    wandb.teardown()
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = kept.read_bytes()
    for fact in ({"seed": 7, "deterministic": True}, {"steps": 1, "epoch": 0, "model": logged["model"]}):
        assert json.dumps(fact, separators=(",", ":"))[1:-1].encode() in data
    assert b'"seed.torch":7' in data


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # its own
def test_the_line_for_lightning_arrives(tmp_path: Path) -> None:
    found = re.search(r"^\| Lightning \| `(.*)` \|$", (PAGE.parent / "manifests.md").read_text(encoding="utf-8"), re.M)
    assert found is not None
    with reproducible(7) as run:  # which gives back what Lightning draws from random
        from pytorch_lightning import Trainer  # here: the suite looks for examples in every module
        from pytorch_lightning.loggers import CSVLogger

        logger = CSVLogger(str(tmp_path), name="logs")
        trainer = Trainer(logger=logger, accelerator="cpu", enable_progress_bar=False)
        exec(found[1], {"trainer": trainer, "run": run})
    logger.save()
    (kept,) = tmp_path.glob("logs/*/hparams.yaml")
    assert "\nseed.torch: 7\n" in kept.read_text(encoding="utf-8")
