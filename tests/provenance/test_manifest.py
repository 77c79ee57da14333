"""What a manifest has, that it has no secret, and that a file that is none is refused, however it is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

import deterministic
from deterministic import Manifest, make_loader, manifest, reproducible
from deterministic.cli import main
from deterministic.errors import DeterministicError, ManifestError
from deterministic.provenance import code, data, machine, packages
from deterministic.provenance.collecting import kept_manifest
from deterministic.provenance.manifest import LARGEST
from deterministic.provenance.tiers import tier_of
from deterministic.sources import registry
from deterministic.sources.registry import describe, versions

SECRET = "planted0Secret"


def test_it_is_flat_json_that_goes_through_a_file(tmp_path: Path) -> None:
    with reproducible(3):
        found = manifest()
    assert next(iter(found.data)) == "schema"
    assert not [value for value in found.data.values() if isinstance(value, dict)]
    found.write(tmp_path / "a.json")
    again = Manifest.read(tmp_path / "a.json")
    assert again == found
    assert str(found.diff(again)) == "the manifests agree in every field"
    assert repr(found) == f"<manifest: {len(found.data)} fields; print it to see the rest>"
    for name, value in found.data.items():
        if value is None and f"reason.{name}" not in found.data:
            assert tier_of(name).number in (1, 2, 3, 5), "which is none, and not unknown"


def test_it_tells_of_everything_that_can_alter_bits() -> None:
    with reproducible(2**40) as run:
        found = run.manifest().data
    named = (
        *("seed", "seed.numpy", "seed.torch", "deterministic", "requested.torch.cudnn.deterministic", "argv"),
        *("settings.torch.deterministic_algorithms.enabled", "versions.torch", "versions.numpy", "versions.python"),
        *("torch.git", "torch.blas", "numpy.blas", "gpu.names", "gpu.capabilities", "gpu.count", "gpu.driver"),
        *("cpu.vendor", "cpu.model", "cpu.torch", "cpu.numpy", "cpu.onednn", "cpu.mkl", "os.release", "os.libc"),
        *("threads.pools", "settings.torch.threads.num_threads", "world_size", "rank", "num_workers", "start_method"),
        *("git.commit", "git.dirty", "git.diff_sha256", "script.sha256", "packages.torch", "packages.pytest"),
        *("generators.torch.cpu.digest", "before.torch.cpu.digest"),
    )
    assert [name for name in named if name not in found] == []
    assert found["seed"] == 2**40
    assert found["deterministic"] is True
    assert found["settings.torch.deterministic_algorithms.enabled"] is True
    assert found["packages.torch"] == metadata.version("torch")
    assert not {"packages.pickle", "packages.json"} & found.keys()  # Python's own


def test_inside_of_a_block_it_is_that_of_the_run() -> None:
    with reproducible(5, deterministic="cudnn") as run:
        list(make_loader(list(range(8)), batch_size=4, num_workers=0))
        inside, of_run = manifest(packages=False, code=False), run.manifest(packages=False, code=False)
        torch.rand(1)
        drawn = manifest(packages=False, code=False)
    closed = run.manifest(packages=False, code=False)
    assert inside.diff(of_run).differences == []
    assert inside.data["num_workers"] == [0]
    assert [one.field for one in inside.diff(drawn).differences] == ["generators.torch.cpu.digest"]
    assert inside.diff(closed).exit_code == 0
    assert {one.field.split(".")[0] for one in inside.diff(closed).differences} == {"generators"}
    outside = manifest(packages=False, code=False)
    assert outside.data["seed"] is None
    assert "not seeded" in outside.data["reason.generators"]
    assert inside.diff(outside).differences[0].field == "seed"
    with reproducible(enabled=False) as off:
        assert off.manifest(packages=False, code=False).data["seed"] is None


def test_it_moves_nothing() -> None:
    before = describe()
    manifest(data={"numbers": Noisy()})
    assert describe() == before


def test_it_never_holds_a_secret(tmp_path: Path) -> None:
    """Planted where secrets are: in the environment, arguments, remotes, and files of configuration."""
    (tmp_path / "train.py").write_text("from deterministic import manifest\nmanifest().write('m.json')\n")
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", SECRET),
        ("remote", "add", "origin", f"https://u:{SECRET}@host.invalid/a.git"),
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for name in (".netrc", ".env", "config.yaml", "pip.conf", ".git/credentials"):
        (tmp_path / name).write_text(f"password: {SECRET}\n")
    arguments = ["--token", SECRET, f"--api_key={SECRET}", f"https://u:{SECRET}@host/", f'{{"password": "{SECRET}"}}']
    planted = {"HF_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "WANDB_API_KEY": SECRET, "ANYTHING": SECRET}
    planted |= {"XLA_FLAGS": f"--x=https://u:{SECRET}@host --token={SECRET}", "HOME": str(tmp_path)}
    root = str(Path(deterministic.__file__).parents[1])
    environment = {**os.environ, **planted, "PYTHONPATH": root}
    subprocess.run([sys.executable, "train.py", *arguments], cwd=tmp_path, env=environment, check=True)
    text = (tmp_path / "m.json").read_text()
    assert SECRET not in text
    assert json.loads(text)["git.commit"]
    assert json.loads(text)["settings.environment.XLA_FLAGS"].startswith("--x=https://<redacted>@host")


def test_traces_and_checkpoints_look_the_slow_part_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept_manifest()

    def refuse() -> dict[str, Any]:
        raise AssertionError("looked up again")

    monkeypatch.setattr(code, "commit", refuse)
    monkeypatch.setattr(packages, "imported", refuse)
    again = Manifest(kept_manifest())
    assert again.diff(Manifest(first)).differences == []


# What could not be found out


def test_what_the_system_does_not_tell_is_null_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CPU", str(tmp_path / "nowhere"))
    monkeypatch.setattr(machine, "_DRIVER", str(tmp_path))
    monkeypatch.setattr("platform.processor", str)
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setenv("WORLD_SIZE", "many")
    found = {**machine.processor(), **machine.system(), **machine.pools(), **machine.devices(), **machine.process()}
    for name in ("cpu.vendor", "cpu.model", "os.libc", "threads.pools", "gpu.driver", "world_size", "rank"):
        assert found[name] is None
        assert found[f"reason.{name}"]


def test_broken_metadata_of_a_package_is_null_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"raises": b"\xff\xfe\x00", "empty": b"", "good": b"Name: good_one\nVersion: 1.5\n"}
    broken |= {"deterministic": b"\xff\xfe\x00", "triton": b"", "apex": b"\xff\xfe\x00"}
    for name, content in broken.items():
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_bytes(content)
        (folder / "top_level.txt").write_text(f"module_of_{name}\n")
        monkeypatch.setitem(sys.modules, f"module_of_{name}", sys)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = packages.imported()
    assert found["packages.good-one"] == "1.5"
    for name in ("raises", "empty"):
        assert found[f"packages.{name}-1.dist-info"] is None
        assert found[f"reason.packages.{name}-1.dist-info"]

    kernels = packages.kernels()
    assert kernels["kernels.triton"] is kernels["kernels.apex"] is None
    assert kernels["reason.kernels.triton"] == "its metadata has no version"
    assert "UnicodeDecodeError" in kernels["reason.kernels.apex"]
    monkeypatch.setattr(registry, "_version_of_this", registry._version_of_this.__wrapped__)  # asked for once a process
    assert versions()["deterministic"] is None
    assert kept_manifest()["reason.versions.deterministic"] == "its metadata is broken"
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert "UnicodeDecodeError" in capsys.readouterr().out


def test_what_python_cannot_import_from_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = packages.kernels(), packages.imported(), versions()
    monkeypatch.setattr(sys, "path", [None, 3, Path("nowhere"), *sys.path])
    assert (packages.kernels(), packages.imported(), versions()) == expected
    assert not {"packages", "kernels"} & {name.removeprefix("reason.") for name in manifest().data}


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises(*arguments: Any, **how: Any) -> Any:
    raise RuntimeError("planted0Secret")


def without_a_folder(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(code, "_script_path", lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)


ODD: list[tuple[str, Callable[[pytest.MonkeyPatch], object]]] = [
    ("argv", lambda patch: patch.setattr(sys, "argv", None)),
    ("argv", lambda patch: patch.delattr(sys, "argv")),
    ("argv", lambda patch: patch.setattr(sys, "argv", [Unprintable()])),
    ("script.sha256", lambda patch: patch.delitem(sys.modules, "__main__")),
    ("script.sha256", lambda patch: patch.setitem(sys.modules, "__main__", None)),
    ("script.sha256", lambda patch: patch.setattr(code, "open", raises, raising=False)),
    ("git.commit", lambda patch: patch.setattr(subprocess, "Popen", raises)),  # as while Python ends
    ("packages", lambda patch: patch.setattr(metadata, "distributions", raises)),
    ("torch", lambda patch: patch.setattr(torch.__config__, "show", raises)),
    ("numpy.blas", lambda patch: patch.setattr(np, "show_config", raises)),
    ("os", lambda patch: patch.setattr("platform.release", raises)),
    ("cpu", lambda patch: patch.setattr(machine, "_cpuinfo", raises)),
    ("world_size", lambda patch: patch.setenv("WORLD_SIZE", "9" * 5000)),
]
if os.name == "posix":  # elsewhere nobody can remove the folder that a process is in
    ODD.append(("git.commit", without_a_folder))


def test_an_odd_interpreter_or_system_is_null_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    for field, make_odd in ODD:
        with monkeypatch.context() as patch:
            make_odd(patch)
            found = manifest(packages=field == "packages").data
        assert found.get(field, 0) is None, field
        assert found[f"reason.{field}"]
        assert SECRET not in json.dumps(found), "what others raise may hold one"
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name=3))
        patch.delenv("HOME", raising=False)
        patch.setitem(cast(dict[Any, Any], sys.modules), 3, sys)
        assert manifest().data["argv"] == sys.argv


# Data sets


class Noisy(Dataset[Any]):
    def __init__(self, first: float = 0.0) -> None:
        self.first = first

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.rand(2) + np.random.rand() + self.first, "y": index}


def test_the_digest_of_a_data_set_is_that_of_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    def digest(dataset: Any) -> str:
        found: str = manifest(packages=False, code=False, data={"train": dataset}).data["data.train"]
        return found

    assert digest(Noisy()) == digest(Noisy()) != digest(Noisy(1e-3)), "whatever augments draws the same"
    outside = digest(Noisy())
    with reproducible(99):
        assert digest(Noisy()) == outside
    assert digest(torch.ones(3)) != digest(torch.zeros(3))
    assert capsys.readouterr().err == ""


def test_a_data_set_that_takes_long_is_counted_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "_SECONDS_BETWEEN", -1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    data.digests({"train": Noisy()})
    shown = capsys.readouterr().err
    assert "\rtrain: 2 of 5 samples (40%)" in shown
    assert shown.endswith(f"\r{' ' * len('train: 5 of 5 samples (100%)')}\r")


class Functions(Noisy):
    def __getitem__(self, index: int) -> Any:
        return lambda: index


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(int, 1)


def test_a_data_set_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(DeterministicError, match=r"found: Endless\n  expected: a data set with __len__"):
        manifest(data={"train": Endless()})
    before = describe()
    with pytest.raises(DeterministicError, match=r"a sample of data\['train'\] has no digest[\s\S]*index: 0"):
        manifest(data={"train": Functions()})
    with pytest.raises(TypeError, match="unsupported operand"):  # its own
        manifest(data={"train": Noisy(lambda: 0)})  # type: ignore[arg-type]
    assert describe() == before


# Files that are none

HOSTILE: list[tuple[str, bytes, str]] = [
    ("empty", b"", "Expecting value"),
    ("no JSON", b"\x00\x01", "Expecting value"),
    ("no UTF-8", b'{"schema": "\xff"}', "no text in UTF-8"),
    ("a list", b"[1]", 'no number "schema"'),
    ("no schema", b"{}", 'no number "schema"'),
    ("schema of another type", b'{"schema": true}', 'no number "schema"'),
    ("newer", b'{"schema": 2}', "Read it with the version"),
    ("older", b'{"schema": -1}', "schema -1, where this version reads 1"),
    ("nested", b'{"schema": 1, "x": {"y": 1}}', "the field 'x' is neither"),
    ("deep in lists", b'{"schema": 1, "x": ' + b"[" * 20 + b"]" * 20 + b"}", "the field 'x' is neither"),
    ("deep", b"[" * 200_000, "nested too deep"),
    ("deep mappings", b'{"a":' * 200_000, "nested too deep"),
    ("NaN", b'{"schema": 1, "x": NaN}', "NaN, which is not JSON"),
    ("infinite", b'{"schema": 1, "x": 1e999}', "the field 'x' is neither"),
    ("twice", b'{"schema": 1, "x": 1, "x": 2}', "a name twice"),
    ("a long number", b'{"schema": 1' + b"0" * 100_000 + b"}", "a number of 100,001 digits"),
    ("a long name", b'{"schema": 1, "' + b"n" * 10**6 + b'": {}}', "is neither"),
    ("huge", b" " * (LARGEST + 1), "more than 16,777,216 bytes"),
]


@pytest.mark.parametrize(("content", "says"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_is_no_manifest_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        Manifest.read(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value).splitlines()[0]
    assert len(str(caught.value)) < 1000
    assert str(caught.value).count("cannot be read") == 1


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.skipif(os.name != "posix", reason="files of Unix")
@pytest.mark.parametrize(
    "path",
    [a_pipe, lambda folder: folder, lambda _: "/dev/zero", lambda folder: folder / "nowhere", lambda _: "a\0b"],
    ids=["pipe", "directory", "device", "nothing", "null"],
)
def test_what_is_no_file_is_refused(path: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read as a manifest"):
        Manifest.read(path(tmp_path))


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be written"):
        Manifest({"schema": 1}).write(tmp_path)
    with pytest.raises(ManifestError, match="cannot be written"):
        Manifest({"schema": 1, "x": float("nan")}).write(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
