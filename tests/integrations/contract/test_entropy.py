"""Real packages that take entropy behind an innocent call: the watch names the user's line and their function."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import gymnasium
import networkx
import numpy
import pytest
import scipy.sparse
import scipy.stats
import torch
import webdataset
from scipy.sparse.linalg import eigsh, svds
from scipy.stats import qmc

from deterministic import reproducible
from deterministic.errors import EntropyError
from deterministic.provenance.audit.audit import audit


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import what takes long; outside of blocks, which would watch that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script, which it calls when it is imported
        importlib.import_module("torch_geometric.transforms")


ARPACK_DRAWS = "rng" in inspect.signature(eigsh).parameters
"""Since SciPy 1.17; before, it had a state of its own in Fortran, which nobody sees: two calls differ."""

MATRIX = scipy.sparse.diags([1.0, 2.0, 1.0], [-1, 0, 1], shape=(60, 60), format="csr")
RING = networkx.cycle_graph(120)


def frames(count: int = 20) -> Any:
    return datasets.Dataset.from_dict({"x": list(range(count))}).to_iterable_dataset()


def column(rows: Any) -> list[Any]:
    return [row["x"] for row in rows]


def laplacian() -> Any:
    from torch_geometric.data import Data
    from torch_geometric.transforms import AddLaplacianEigenvectorPE

    edges = torch.tensor(list(RING.edges)).T
    data = Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=120)
    return AddLaplacianEigenvectorPE(3, is_undirected=True)(data).laplacian_eigenvector_pe.tolist()


def space() -> Any:
    return gymnasium.spaces.Discrete(10**6).sample()


def cart_pole() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make("CartPole-v1").reset()[0].tolist()


def mixed() -> Any:
    return column(datasets.interleave_datasets([frames(), frames()], probabilities=[0.5, 0.5]))


def shuffled_samples() -> Any:
    return list(webdataset.shuffle(100)(iter(range(60))))


CALLS: dict[str, tuple[Callable[[], Any], str, bool]] = {
    "eigsh": (lambda: eigsh(MATRIX, 3)[1].tolist(), "eigsh", True),
    "svds": (lambda: svds(MATRIX, 3)[0].tolist(), "svds", True),
    "qmc.Sobol": (lambda: qmc.Sobol(2).random(2).tolist(), "", True),
    "qmc.LatinHypercube": (lambda: qmc.LatinHypercube(2).random(2).tolist(), "", True),
    "Normal().sample": (lambda: scipy.stats.Normal().sample(2).tolist(), "sample", True),
    "eigenvector_centrality_numpy": (
        lambda: networkx.eigenvector_centrality_numpy(RING),
        "eigenvector_centrality_numpy",
        True,
    ),
    "AddLaplacianEigenvectorPE": (laplacian, "__call__", True),
    "IterableDataset.shuffle": (lambda: column(frames().shuffle(buffer_size=10)), "shuffle", True),
    "interleave_datasets": (mixed, "interleave_datasets", True),
    "spaces": (space, "sample", True),
    "reset": (cart_pole, "reset", True),
    "webdataset.shuffle": (shuffled_samples, "_shuffle", False),
}


OF_ARPACK = ("eigsh", "svds", "eigenvector_centrality_numpy", "AddLaplacianEigenvectorPE")
if not ARPACK_DRAWS:
    CALLS = {name: call for name, call in CALLS.items() if name not in OF_ARPACK}


@pytest.mark.parametrize("name", CALLS)
def test_an_innocent_call_is_named_with_the_users_line(name: str) -> None:
    call, function, _ = CALLS[name]
    with reproducible(0, entropy="raise") as run, pytest.raises(EntropyError) as error:
        call()
    assert f"at: {__file__}:" in str(error.value)
    (caught,) = run.report().data["entropy"]
    assert function in caught["by"]


AUDITED: dict[str, str] = {
    "from scipy.sparse.linalg import eigsh\neigsh(numpy.eye(50), 3{})": ", rng=0",
    "from scipy.sparse.linalg import eigsh\neigsh(numpy.eye(50), 3, v0=numpy.ones(50){})": ", rng=0",
    "from scipy.sparse.linalg import svds\nsvds(MATRIX, 3{})": "",  # with rng= it makes an unseeded one, too
    "from datasets import interleave_datasets\ninterleave_datasets([frames(), frames()]{})": "",
    "from datasets import interleave_datasets\ninterleave_datasets([frames(), frames()], [0.5, 0.5]{})": ", seed=0",
    "from webdataset import shuffle\nlist(shuffle(9{})(iter(range(20))))": ", seed=0",
}


@pytest.mark.skipif(not ARPACK_DRAWS, reason="an earlier SciPy than 1.17")
def test_the_audit_finds_the_calls_that_the_watch_refuses(tmp_path: Path) -> None:
    for text, seed in AUDITED.items():
        for given in ("", seed):
            program = text.format(given)
            (tmp_path / "program.py").write_text(program)
            found = [finding.rule for finding in audit(str(tmp_path / "program.py"))]
            refused = []
            try:
                with reproducible(0, entropy="raise"):
                    exec(compile(program, "program.py", "exec"), {"numpy": numpy, "MATRIX": MATRIX, "frames": frames})
            except EntropyError:
                refused = ["DET105"]
            assert found == refused, program


@pytest.mark.filterwarnings("ignore::deterministic.errors.NondeterminismWarning")
def test_with_seed_all_repeat_that_do_not_seed_themselves_by_the_clock() -> None:
    for name, (call, _, repeats) in CALLS.items():
        found = []
        for _ in range(2):
            with reproducible(0, entropy="seed"):
                found.append(call())
        if repeats:
            assert found[0] == found[1], name
