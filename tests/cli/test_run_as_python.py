"""What runs under `deterministic run` cannot tell it from python: each row is run by both, and compared."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..properties import on_demand
from .programs import RUN, ended, python, run

COMMAND = Path(sys.executable).parent / "deterministic"

SHOW = """
import json, sys
names = {name: repr(value) for name, value in sorted(globals().items())}
main = vars(sys.modules["__main__"])
print(json.dumps({"names": names, "argv": sys.argv, "path": sys.path, "is main": main is globals()}))
"""

SCRIPTS = {
    "exits with 3": "import sys; sys.exit(3)",
    "exits with a message": "import sys; sys.exit('what was wrong')",
    "exits with None": "import sys; sys.exit()",
    "exits at once": "import os; print('x', flush=True); os._exit(4)",
    "exits with a number that is no status": "import sys; sys.exit(0.0)",
    "exits with True": "import sys; sys.exit(True)",
    "exits with 256": "import sys; sys.exit(256)",
    "raises what derives from KeyboardInterrupt": """
class Stop(KeyboardInterrupt): pass
raise Stop
""",
    "looks at the last error when it ends": """
import atexit, sys
atexit.register(lambda: print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno))
raise ValueError("x")
""",
    "raises": """
def train():
    raise ValueError("x")

train()
""",
    "raises from another": """
try:
    1 / 0
except ZeroDivisionError as error:
    raise RuntimeError("y") from error
""",
    "raises a group": "raise ExceptionGroup('g', [ValueError(1)])" if sys.version_info >= (3, 11) else "raise OSError",
    "raises, and so does its hook": """
import sys
def hook(kind, error, traceback):
    try:
        1 / 0
    except ZeroDivisionError:
        raise KeyError("in the hook")
sys.excepthook = hook
raise ValueError("x")
""",
    "raises, and its hook exits": """
import sys
def hook(kind, error, traceback):
    sys.exit(7)
sys.excepthook = hook
raise ValueError("x")
""",
    "raises, and its hook is interrupted": """
import sys
def hook(kind, error, traceback):
    raise KeyboardInterrupt
sys.excepthook = hook
raise ValueError("x")
""",
    "raises what is no Exception": """
class Stop(BaseException): pass
raise Stop
""",
    "raises ImportError": "import there_is_no_such_module",
    "is interrupted": """
import atexit, os, signal, time
atexit.register(print, "cleaned up")
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
""",
    "is interrupted in a block with a finally": """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
finally:
    print("finally")
""",
    "is terminated": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "has a syntax error": "def f(:\n    pass\n",
    "has an indentation error": "if True:\nx = 1\n",
    "is UTF-8": "print('\u00e9\u4e2d'.encode())",
    "has its own excepthook": """
import sys
def hook(kind, error, traceback):
    print(kind.__name__, traceback.tb_lineno, traceback.tb_frame.f_code.co_name)
sys.excepthook = hook
1 / 0
""",
    "pickles its own class": """
import pickle
class Model:
    pass
print(type(pickle.loads(pickle.dumps(Model()))), Model.__module__)
""",
    "is read by inspect": """
import inspect
def f():
    return 1
print(inspect.getsource(f), inspect.getsourcefile(f), inspect.getmodule(f))
""",
    "has annotations": "x: int = 1\nprint(__annotations__)",
    "reads itself": "print(open(__file__).read(), __file__)",
    "has an atexit function that uses its globals": """
import atexit
VALUE = 3
@atexit.register
def late():
    print(__name__, VALUE)
""",
    "has a thread that outlives it": """
import threading, time
VALUE = 3
def late():
    time.sleep(0.2)
    print(__name__, VALUE)
threading.Thread(target=late).start()
""",
    "has a thread that raises": """
import threading
def work():
    1 / 0
thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
    "starts processes by spawn": """
import multiprocessing
class Work:
    pass
def work(value):
    return (type(value).__name__, __name__)
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(work, [Work()]))
""",
    "starts processes by fork": """
import multiprocessing
def work(value):
    return (value + 1, __name__)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(work, [1]))
""",
    "reads from stdin": "import sys; print(repr(sys.stdin.read()))",
    "has no modules that it did not import": """
import sys
others = {"torch", "numpy", "wrapt", "asyncio", "rich", "yaml", "multiprocessing"}
others |= {"argparse", "dataclasses", "gettext", "hashlib", "inspect", "random", "shutil", "typing"}
print(sorted(others & sys.modules.keys()))
""",
}


@pytest.mark.parametrize("title", SCRIPTS)
def test_a_script_that(title: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.py").write_text(SCRIPTS[title], encoding="utf-8")
    by_python = python("sub/train.py", cwd=tmp_path)
    assert run("--quiet", "sub/train.py", cwd=tmp_path) == by_python
    assert (by_python.status, by_python.out, by_python.err) != (0, "", "") or title.startswith("exits with")


@pytest.mark.parametrize(
    "target",
    [
        ("show.py",),
        ("./show.py",),
        ("sub/show.py",),
        ("sub/linked.py",),
        ("folder",),
        ("./folder/",),
        ("archive.zip",),
        ("-m", "package"),
        ("-m", "package.show"),
        ("-m", "show"),
    ],
    ids=" ".join,
)
def test_main_and_the_path_are_those_of_python(target: tuple[str, ...], tmp_path: Path) -> None:
    places = ("show.py", "sub/show.py", "folder/__main__.py", "package/__main__.py", "package/show.py")
    for place in places:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(SHOW)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "sub" / "linked.py").symlink_to(tmp_path / "folder" / "__main__.py")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    rest = ("--seed", "7", "-m", "x", "--", "-q", "--help", "")
    by_python = python(*target, *rest, cwd=tmp_path)
    assert run("-q", *target, *rest, cwd=tmp_path) == by_python
    assert by_python.status == 0
    assert '"is main": true' in by_python.out


@pytest.mark.parametrize(
    "body", ["raise AttributeError('x')", "import no_such_dependency", "import sys; sys.exit(3)", "1 / 0"]
)
@pytest.mark.parametrize("target", ["package", "package.train"])
def test_what_the_package_above_a_module_raises_is_shown_with_its_line(body: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    for name, text in (("__init__", body), ("__main__", "print('ran')"), ("train", "print('ran')")):
        (tmp_path / "package" / f"{name}.py").write_text(text)
    by_python, by_run = python("-m", target, cwd=tmp_path), run("-q", "-m", target, cwd=tmp_path)
    assert (by_run.status, by_run.out) == (by_python.status, by_python.out)
    assert by_run.err.splitlines()[-1:] == by_python.err.splitlines()[-1:]
    assert ("__init__.py" in by_run.err) is ("__init__.py" in by_python.err)


def test_a_script_may_be_a_pipe(tmp_path: Path) -> None:
    command = f"{' '.join(RUN)} -q <(echo 'print(3)')"
    assert ended("bash", "-c", command, cwd=tmp_path) == (0, "3\n", "")


@pytest.mark.slow
def test_a_loader_of_a_script_spawns_workers_that_import_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import torch\n"
        "class Squares(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, index): return index * index, torch.utils.data.get_worker_info().num_workers\n"
        "if __name__ == '__main__':\n"
        "    for method in ('spawn', 'forkserver'):\n"
        "        loader = torch.utils.data.DataLoader(Squares(), num_workers=1, multiprocessing_context=method)\n"
        "        print([batch[0].item() for batch in loader])\n"
    )
    done = run("-q", "train.py", cwd=tmp_path)
    assert done == (0, "[0, 1, 4, 9]\n" * 2, ""), "as by python: the module is found by the name __main__"


@pytest.mark.parametrize("flag", ["-O", "-Bu", "-Werror", "-Xdev", "-I", "-P"])
def test_options_of_python_itself_are_kept(flag: str, tmp_path: Path) -> None:
    if flag == "-P" and sys.version_info < (3, 11):
        flag = "-I"
    (tmp_path / "show.py").write_text(
        "import sys, warnings; print(sys.flags, sys.dont_write_bytecode, sys.warnoptions, sys.path,"
        " sys.stdout.write_through, __debug__)"
    )
    by_run = ended(sys.executable, flag, *RUN[1:], "-q", "show.py", cwd=tmp_path)
    by_python = python(flag, "show.py", cwd=tmp_path)
    # Which hash seed there is, is what the command is for.
    assert by_run == by_python


NEIGHBOURS = ["random", "atexit", "torch", "signal", "json", "argparse", "difflib", "hashlib", "numpy"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NEIGHBOURS[:3], *on_demand(NEIGHBOURS[3:])])
def test_a_file_beside_the_script_is_what_it_is_under_python(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("NAME = 'the neighbour'\n")
    shown = [one for one in NEIGHBOURS if one != "torch" or name in ("random", "torch")]  # it takes seconds each time
    (tmp_path / "train.py").write_text(
        f"for name in {shown}:\n"
        "    try:\n"
        "        module = __import__(name)\n"
        "        print(name, getattr(module, '__file__', ''), getattr(module, 'NAME', ''))\n"
        "    except Exception as error:\n"
        "        print(name, type(error), error)\n"
    )
    by_python = python("train.py", cwd=tmp_path)
    assert (f"{name} {tmp_path / name}.py the neighbour" in by_python.out) == (name != "atexit"), "which is built in"
    assert run("-q", "train.py", cwd=tmp_path) == by_python
    if COMMAND.exists():
        by_command = ended(str(COMMAND), "run", "-q", "train.py", cwd=tmp_path)
        assert (by_command.status, by_command.err) == (by_python.status, by_python.err)
        # The advice of Python 3.13 knows the folder that the interpreter itself was started in, and no later one.
        assert by_command.out == re.sub(r" \(consider renaming .*\)", "", by_python.out)


@pytest.mark.skipif(not COMMAND.exists(), reason="the command is not installed beside this Python")
def test_a_file_called_deterministic_beside_the_script_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "deterministic.py").write_text("raise RuntimeError('not to be imported')\n")
    (tmp_path / "train.py").write_text("import random, numpy.random\nprint(random.random(), numpy.random.rand())\n")
    found = ended(str(COMMAND), "run", "-q", "train.py", cwd=tmp_path)
    (tmp_path / "deterministic.py").unlink()
    assert found == run("-q", "train.py", cwd=tmp_path)
    assert found.status == 0


@pytest.mark.skipif(not COMMAND.exists(), reason="the command is not installed beside this Python")
@pytest.mark.parametrize("title", ["raises", "is interrupted", "exits with 3", "starts processes by spawn"])
def test_the_command_is_the_same_as_the_module(title: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPTS[title])
    assert ended(str(COMMAND), "run", "-q", "train.py", cwd=tmp_path) == run("-q", "train.py", cwd=tmp_path)


def test_output_that_nobody_reads_ends_as_under_python(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("for i in range(100000): print('x' * 100)")

    def status(*command: str) -> tuple[int, bytes]:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.stderr.close()
        return process.wait(), errors

    assert status(*RUN, "-q", "train.py") == status(sys.executable, "train.py")


def test_it_is_still_the_process_that_was_started(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    process = subprocess.Popen([*RUN, "train.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
