"""Whether seeding reaches what other libraries draw, asked of each in fresh processes: `python -m benchmarks reach`.

The libraries are those of `benchmarks/reach-requirements.txt`, which nothing else needs:

    pip install -c constraints.txt -e '.[all]' -r benchmarks/reach-requirements.txt
    pip install --no-deps imgaug==0.4.0 mlflow-skinny==3.17.2
    pip install --no-deps --target FOLDER torchvision==0.28.0 timm==1.0.31
    export REACH_TORCHVISION=FOLDER

Two are in a folder of their own, as other libraries import a torchvision that is there, which fails where it was built
for another torch. Linux and macOS only: the processes are forked.

A row is a function in `benchmarks/reach_rows/`. Processes of its own run it: with plain seeds, in blocks, in loaders.
It counts as random only if it can differ: between two calls, two processes or two seeds. One that is not there, or
raises, says so in the place of its answer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from deterministic import current_run, fingerprint, make_loader, reproducible, sample_rng
from deterministic.errors import DeterministicError

from .reach_rows.row import ROWS, Seed

ROOT = Path(__file__).parent.parent
SAVED = Path(__file__).with_name("results") / "reach.json"
SAMPLES = 6
PARTS = {"plain": 180, "block": 180, "loader": 60}
"""Parts of the questions, each in a process of its own, and the seconds that it may take."""
NOTHING = "the same with every seed"


def unseeded() -> None:
    """Return no seed."""


def derived() -> int:
    """Return a seed of the sample that is being made, else of the open scope."""
    try:
        return int(sample_rng().integers(2**31))
    except DeterministicError:
        run = current_run()
        return 0 if run is None else run.derive("reach") % 2**31


class Samples(Dataset[Any]):
    """A dataset that holds what is called."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return self.call()


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def states() -> dict[str, str]:
    """Return the states of the global generators, hashed."""
    return {
        "Python's": fingerprint(list(random.getstate()[1])),
        "numpy's": fingerprint(list(np.random.get_state())[1:]),
        "torch's": fingerprint(torch.get_rng_state()),
    }


@contextmanager
def entropy_noted() -> Iterator[list[str]]:
    """Note who asks the operating system for entropy through Python; compiled code that asks is not seen."""
    noted: list[str] = []
    urandom, seed = os.urandom, random.Random.seed

    def noting(size: int) -> bytes:
        noted.append("os.urandom")
        return urandom(size)

    def noting_seed(own: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None:
            noted.append("random.Random()")
        seed(own, a, version)

    try:
        random._urandom = os.urandom = noting  # type: ignore[attr-defined]
        random.Random.seed = noting_seed  # type: ignore[method-assign, assignment]
        yield noted
    finally:
        random._urandom = os.urandom = urandom  # type: ignore[attr-defined]
        random.Random.seed = seed  # type: ignore[method-assign]


def plainly(make: Callable[[], Callable[[], Any]]) -> dict[str, Any]:
    """Call it without and with seeds, the usual three, and return hashes of what came out."""

    def hashed(seed: int | None = None) -> str:
        if seed is None:
            torch.seed()  # its generator begins with a constant, which would look like a seed
        else:
            seed_all(seed)
        return fingerprint(make()())

    alone = [hashed(), hashed()]
    seeded, after = [], []
    for _ in range(2):
        seeded.append(hashed(0))
        after.append(states())
    other = hashed(1)
    seed_all(0)
    before = states()
    with entropy_noted() as noted:
        make()()
    return {
        "alone": alone,
        "seeded": seeded,
        "other": other,
        "moved": [name for name, state in states().items() if state != before[name]],
        "unsettled": [name for name, state in after[0].items() if state != after[1][name]],
        "entropy": bool(noted),
    }


def in_blocks(make: Callable[[], Callable[[], Any]]) -> dict[str, Any]:
    """Call it in blocks and return hashes: twice of one seed, once of another."""
    found = []
    for seed in (0, 0, 1):
        with reproducible(seed):
            found.append(fingerprint(make()()))
    return {"seeded": found[:2], "other": found[2]}


def in_loaders(make: Callable[[], Callable[[], Any]], kind: str) -> dict[str, Any]:
    """Make samples, or a stream, in loaders of two numbers of workers, and return hashes; a stream keeps its number."""

    def epoch(seed: int, workers: int) -> str:
        with reproducible(seed):
            dataset: Any = make()() if kind == "stream" else Samples(make())
            made = list(make_loader(dataset, batch_size=2, num_workers=workers, collate_fn=list))
        return fingerprint(made)

    first = 2 if kind == "stream" else 0
    return {"seeded": [epoch(0, first), epoch(0, 2)], "other": epoch(1, first)}


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what it found, or why it did not run: a row that raises is a reason, not a gap."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - the reason goes into the table
        traceback.print_exc(limit=-2)
        return reason(error)


def reason(error: BaseException) -> str:
    """Return one line without paths or addresses."""
    text = re.split(r"\n|(?<=[.!]) ", str(error).strip())
    line = re.sub(r"(?<![^\s'\"(])/\S+/|0x[0-9a-f]+", "", text[0]).replace("|", "/")
    return f"not run: {type(error).__name__}: {line}"[:160]


def child(name: str, part: str) -> dict[str, Any]:
    """Observe one row, in this process."""
    asked = ROWS[name]
    if part == "loader" and not asked.loader:
        return {"version": ""}
    library = attempt(importlib.import_module, asked.uses)
    try:
        version = platform.python_version() if asked.library == "Python" else importlib.metadata.version(asked.library)
    except importlib.metadata.PackageNotFoundError:
        return {"version": "", "error": "not run: not installed"}
    if isinstance(library, str):
        return {"version": version, "error": library}

    def bound(seed: Seed) -> Callable[[], Callable[[], Any]]:
        if part != "loader" and asked.loader == "stream":
            return lambda: lambda: list(asked.make(library, seed)())
        return lambda: asked.make(library, seed)

    found: dict[str, Any] = {"version": version}
    if part == "plain":
        found[part] = attempt(plainly, bound(unseeded))
    elif part == "block":
        found[part] = attempt(in_blocks, bound(unseeded))
        if asked.remedy:
            found["mended"] = attempt(in_blocks, bound(derived))
    elif asked.loader:
        found[part] = attempt(in_loaders, bound(unseeded), asked.loader)
        if asked.remedy:
            found["mended loader"] = attempt(in_loaders, bound(derived), asked.loader)
    return found


def observed(names: Sequence[str]) -> list[dict[tuple[str, str], dict[str, Any]]]:
    """Observe rows in two new Pythons at a time, each with a hash seed of its own, and return what each has seen.

    Every part of a row has a process of its own, a copy of one that has loaded torch and numpy and nothing else. What
    is compared comes from two Pythons, so that nothing is the same only because it was copied.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHASHSEED", "WANDB_API_KEY")}
    environment |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "MLFLOW_ALLOW_FILE_STORE": "true"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.reach_rows"]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        running = [subprocess.Popen([*command, folder, *names], env=environment) for folder in (one, two)]
        for process in running:
            process.wait()
        return [
            {(name, part): read(Path(folder, f"{name} {part}.json")) for name in names for part in PARTS}
            for folder in (one, two)
        ]


def read(path: Path) -> dict[str, Any]:
    """Return what a process has found, if it came so far."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        limit = PARTS[path.stem.split()[-1]]
        return {"version": "", "error": f"not run: the process died, or took more than {limit} seconds"}
    return found


def same(parts: Sequence[Any]) -> str:
    """Return whether what two processes saw is the same, which tells something only if another seed differs."""
    if failed := [part for part in parts if isinstance(part, str)]:
        return failed[0]
    hashes = {digest for part in parts for digest in part["seeded"]}
    if len(hashes) > 1:
        return "no"
    return NOTHING if hashes == {part["other"] for part in parts} else "yes"


def answers(pythons: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Return what the observations of two Pythons say, each a mapping from the part to what was found.

    Returns:
        "seeded": whether the usual three seeds repeat it within a process. "block": whether `reproducible(0)` does, in
        two processes. "loader": whether a loader does. "drawn from": what it draws from. "mended", "mended loader":
        whether it repeats with the remedy.
    """

    def seen(part: str, question: str) -> list[Any]:
        return [python[part].get("error", python[part].get(question)) for python in pythons]

    plain = seen("plain", "plain")
    found = {"seeded": within_a_process(plain)}
    if not found["seeded"].startswith("not run"):
        found["drawn from"] = drawn_from(plain, found["seeded"])
    # The first call of each process: what state a second one finds is the question before this.
    firsts = [
        part if isinstance(part, str) else {**part, "seeded": part["seeded"][:1]} for part in seen("block", "block")
    ]
    found["block"] = same(firsts)
    for part, question in (("loader", "loader"), ("block", "mended"), ("loader", "mended loader")):
        if all(seen(part, question)):
            found[question] = same(seen(part, question))
    return found


def within_a_process(observed: Sequence[Any]) -> str:
    """Return whether the same seed gives the same again, if anything that a process does gives something else."""
    if failed := [part for part in observed if isinstance(part, str)]:
        return failed[0]
    if any(len(set(part["seeded"])) > 1 for part in observed):
        return "no"
    return "yes" if any(map(differs, observed)) else NOTHING


def differs(part: Mapping[str, Any]) -> bool:
    """Return whether anything differs within one process: calls without a seed, or two seeds."""
    return len({*part["alone"], *part["seeded"], part["other"]}) > 1


def drawn_from(observed: Sequence[Mapping[str, Any]], seeded: str) -> str:
    """Return where the numbers come from, as far as that is seen."""
    starts = {part["alone"][0] for part in observed}
    if seeded == NOTHING:
        return (
            "nothing, or a fixed seed of its own"
            if len(starts) == 1
            else "the process, as by its hash seed or another salt"
        )
    *others, last = observed[0]["moved"] or [""]
    moved = " and ".join(filter(None, [", ".join(others), last and f"{last} global generator"]))
    if seeded == "yes":
        return moved or "a global seed, which it reads and leaves where it is"
    if any(part["entropy"] for part in observed):
        own = "a generator of its own, from the operating system's entropy"
    elif len(starts) == 1:
        own = "state in compiled code, or made at import, that is the same at each start"
    else:
        own = "what Python does not show: compiled code, the clock, or a generator made at import"
    if any(part["unsettled"] for part in observed):
        return f"{own}; moves {moved}, each time to another place"
    return f"{own}; moves {moved}" if moved else own


def measure(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Ask the rows, print the answers, and return them with what was asked."""
    first, second = observed(names)
    found = {}
    for name in names:
        asked = ROWS[name]
        said = answers([{part: python[name, part] for part in PARTS} for python in (first, second)])
        version = first[name, "plain"]["version"]
        print(
            f"{asked.library} {version}, {asked.called}: {', '.join(f'{key}: {value}' for key, value in said.items())}"
        )
        found[name] = {
            "kind": asked.kind,
            "library": asked.library,
            "version": version,
            "called": asked.called,
            "remedy": asked.remedy,
            **said,
        }
    return found


def asked_again(names: Sequence[str]) -> dict[str, Any]:
    """Return the figures: of the rows that are named, or of all, as they are now; of others as they were saved."""
    found = measure(names or list(ROWS))
    if names and SAVED.exists():
        found = {**json.loads(SAVED.read_text(encoding="utf-8"))["reach"]["rows"], **found}
    return {"date": time.strftime("%Y-%m-%d"), "rows": {name: found[name] for name in ROWS if name in found}}
