"""`with reproducible(...)` in a marimo notebook, which knows no magics: as a script, and in marimo's own runtime."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import asyncio, random
    import torch
    from deterministic import reproducible
    from deterministic.scope import stack
    return asyncio, random, reproducible, stack, torch


@app.cell
def _(random, reproducible):
    with reproducible(seed=42) as run:
        first = random.random()
    before = random.getstate()
    return before, first, run


@app.cell
async def _(asyncio, before, random, reproducible):
    with reproducible(seed=42):
        await asyncio.sleep(0.01)
        second = random.random()
    is_given_back = random.getstate() == before
    return is_given_back, second


@app.cell
def _(reproducible, second):
    @reproducible(seed=42)
    def draw():
        import random
        return random.random()
    decorated = [draw(), draw()]
    return (decorated,)


@app.cell
def _(stack, decorated, first, is_given_back, run, second):
    print("drawn", first, second, *decorated, "given back", is_given_back, "open", len(stack._entries))
    run.report()
    return


if __name__ == "__main__":
    app.run()
"""


def marimo(folder: Path, *command: str) -> str:
    """Run marimo on the notebook, with a home of its own."""
    path = folder / "notebook.py"
    path.write_text(NOTEBOOK, encoding="utf-8")
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"), str(folder))
    finished = subprocess.run(
        [sys.executable, *command, str(path)],
        cwd=folder,
        env={**os.environ, **homes},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def expected() -> str:
    number = random.Random(42).random()
    return f"drawn {number} {number} {number} {number} given back True open 0"


def test_a_notebook_that_is_run_as_a_script(tmp_path: Path) -> None:
    assert expected() in marimo(tmp_path)


def test_a_notebook_that_marimo_exports_with_its_outputs(tmp_path: Path) -> None:
    exported = marimo(tmp_path, "-m", "marimo", "export", "ipynb", "--include-outputs")

    assert expected() in exported
    assert "entered at" in exported
