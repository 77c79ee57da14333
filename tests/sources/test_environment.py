"""The environment variables that a scope saves, and the one that it may set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from deterministic import describe, reproducible
from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING
from deterministic.sources.environment import VARIABLES, Environment, _refuses_without_workspace

from ..properties import on_demand

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def older_torch(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """The source under a torch that refuses cuBLAS without the variable, which is not set."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    return Environment()


def test_the_list_names_each_variable_once() -> None:
    assert len(set(VARIABLES)) == len(VARIABLES)
    assert {"PYTHONHASHSEED", "PL_GLOBAL_SEED", "OMP_NUM_THREADS", WORKSPACE, "NVIDIA_TF32_OVERRIDE"} <= set(VARIABLES)
    assert not {"WANDB_RUN_ID", "MASTER_ADDR", "RANK", "HF_TOKEN", "PATH"} & set(VARIABLES)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_the_list_is_given_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for outside in ("outside", None):
        if outside is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, outside)
        for inside in ("inside", None):
            with reproducible(seed=None, deterministic=False):
                os.environ.pop(name, None)
                if inside is not None:
                    os.environ[name] = inside
            assert os.environ.get(name) == outside


def test_any_other_variable_is_left_as_the_block_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_RUN_ID", "MASTER_ADDR", "HF_TOKEN", "OMP_NUM_THREADS_"):
        monkeypatch.setenv(name, "outside")
        with reproducible(0):
            os.environ[name] = "inside"
        assert os.environ[name] == "inside"


def test_a_token_is_neither_saved_nor_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in repr(Environment().capture())
    assert "hf_secret" not in repr(describe())


def test_child_processes_see_what_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    with reproducible(0):
        os.environ["NCCL_ALGO"] = "Tree"
        os.environ["NCCL_PROTO"] = "LL"
    code = "import os; print(os.environ.get('NCCL_ALGO'), os.environ.get('NCCL_PROTO'))"
    assert subprocess.check_output([sys.executable, "-S", "-c", code], text=True) == "Ring None\n"


def test_an_environment_that_was_cleared_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with reproducible(0):
        for name in VARIABLES:
            os.environ.pop(name, None)
    assert os.environ["NCCL_ALGO"] == "Ring"
    assert {name: value for name, value in os.environ.items() if name not in VARIABLES} == others


@pytest.mark.skipif(sys.platform == "win32", reason="variables are text there")
def test_a_value_that_is_no_utf8_is_given_back_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "\udcff\udcfe")
    with reproducible(0):
        assert describe()["environment"]["XLA_FLAGS"] == "\udcff\udcfe"
        del os.environ["XLA_FLAGS"]
    assert os.environb[b"XLA_FLAGS"] == b"\xff\xfe"


def test_a_captured_state_does_not_change_later(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Environment()
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    state = source.capture()
    before = source.describe(state)
    monkeypatch.setenv("NCCL_ALGO", "Tree")
    assert source.describe(state) == before


@pytest.mark.parametrize(
    ("version", "refuses"),
    [("2.6.0", True), ("2.9.1+cu128", True), ("2.10.0", False), ("2.13.0+cpu", False), ("2.14.0a0+git1", False)],
)
def test_which_versions_of_torch_need_the_workspace(
    version: str, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert _refuses_without_workspace() is refuses


def test_a_torch_that_does_not_need_the_workspace_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    assert Environment().apply(Config(None, True)) is NOTHING
    assert WORKSPACE not in os.environ


@pytest.mark.parametrize("level", [True, "warn"])
def test_where_it_is_needed_the_level_sets_the_workspace(older_torch: Environment, level: bool) -> None:
    state = older_torch.capture()
    applied = older_torch.apply(Config(None, level))
    assert os.environ[WORKSPACE] == ":4096:8"
    assert (applied.values, applied.limits) == ({WORKSPACE: ":4096:8"}, ())
    older_torch.restore(state)
    assert WORKSPACE not in os.environ


def test_lower_levels_leave_the_workspace_alone(older_torch: Environment) -> None:
    assert older_torch.apply(Config(None, False)) == older_torch.apply(Config(None, "cudnn")) == NOTHING
    assert WORKSPACE not in os.environ


def test_a_workspace_that_serves_is_left_as_it_is(older_torch: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    assert older_torch.apply(Config(None, True)) == NOTHING
    assert os.environ[WORKSPACE] == ":16:8"


def test_a_workspace_that_does_not_serve_is_left_and_reported(
    older_torch: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKSPACE, ":0:0")
    applied = older_torch.apply(Config(None, True))
    assert os.environ[WORKSPACE] == ":0:0"
    assert applied.values == {}
    (limit,) = applied.limits
    assert limit.subject == WORKSPACE
    assert "':0:0'" in limit.reason
    assert ":4096:8 or :16:8" in limit.remedy


def test_a_workspace_set_after_the_first_use_of_cuda_is_reported(
    older_torch: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    state = older_torch.capture()
    (limit,) = older_torch.apply(Config(None, True)).limits
    older_torch.restore(state)
    assert limit.subject == WORKSPACE
    assert "CUDA was in use before" in limit.reason


def test_the_limit_of_the_hash_seed_is_named_once_there_is_a_seed() -> None:
    limits = [limit.subject for limit in Environment().apply(Config(3)).limits]
    given = os.environ.get("PYTHONHASHSEED", "random")
    assert limits == (["PYTHONHASHSEED"] if given == "random" else [])
    assert Environment().apply(Config(None)) is NOTHING


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "given", "before", "is_fixed"),
    [
        ([], "7", "", True),
        ([], None, "os.environ['PYTHONHASHSEED'] = '7'", False),
        (["-E"], "7", "", False),
        *on_demand([([], "0", "", True), ([], "random", "", False), ([], None, "", False), (["-E"], "0", "", False)]),
    ],
)
def test_the_hash_seed_is_fixed_where_python_found_it_when_it_started(
    options: list[str], given: str | None, before: str, is_fixed: bool
) -> None:
    code = (
        f"import os\n{before}\n"
        "from deterministic.ground.config import Config\n"
        "from deterministic.sources.environment import Environment\n"
        "print([limit.subject for limit in Environment().apply(Config(3)).limits])"
    )
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    command = [sys.executable, *options, "-c", code]
    if given is not None:
        variables["PYTHONHASHSEED"] = given
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("[]" if is_fixed else "['PYTHONHASHSEED']")
