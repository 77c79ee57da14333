"""Files of any kind: encodings, notebooks, folders, comments that ignore, and what cannot be read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from deterministic.provenance.audit import names
from deterministic.provenance.audit.audit import Fault, audit
from deterministic.provenance.audit.files import LARGEST, MOST_SIGNS, UnreadableError, files_in

UNSEEDED = "import numpy\nrng = numpy.random.default_rng()\n"


def audited(path: Path, data: bytes | str) -> list[Fault]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return audit(str(path))


def notebook(*cells: object) -> str:
    return json.dumps({"cells": cells, "nbformat": 4})


def code(source: object) -> dict[str, object]:
    return {"cell_type": "code", "source": source}


@pytest.mark.parametrize(
    "data",
    [
        UNSEEDED.encode(),
        b"\xef\xbb\xbf" + UNSEEDED.encode(),
        b"# -*- coding: latin-1 -*-\nname = '\xe9'\n" + UNSEEDED.encode(),
        UNSEEDED.replace("\n", "\r\n").encode(),
        UNSEEDED.replace("\n", "\r").encode(),
        b"text = '\\d'  # which Python warns of\n" + UNSEEDED.encode(),
    ],
    ids=["utf-8", "bom", "latin-1", "crlf", "cr", "escape"],
)
def test_source_is_read_as_python_reads_it(data: bytes, tmp_path: Path) -> None:
    assert [finding.rule for finding in audited(tmp_path / "a.py", data)] == ["DET101"]


def test_cells_of_a_notebook_are_read_without_what_is_ipythons(tmp_path: Path) -> None:
    cells = (
        {"cell_type": "markdown", "source": ["# random.seed()"]},
        code(["%matplotlib inline\n", "import random\n", "!pip install numpy\n", "random.seed()"]),
        code("%%bash\nrandom.seed()"),
        code("%%time\nif True:\n    %pip list\n    import numpy as np\nnp.random?\nrng = np.random.default_rng()"),
        code(""),
    )
    first, second = audited(tmp_path / "nb.ipynb", notebook(*cells))
    assert (first.cell, first.line, first.rule) == (2, 4, "DET102")
    assert (second.cell, second.line, second.rule) == (4, 6, "DET101")
    assert second.place == f"{tmp_path / 'nb.ipynb'} cell 4 line 6"


def test_names_of_earlier_cells_are_known(tmp_path: Path) -> None:
    cells = (code("import numpy as np"), code("x = (\n    np.random.default_rng()\n)"), code("def np(): ..."))
    (finding,) = audited(tmp_path / "nb.ipynb", notebook(*cells[:2]))
    assert (finding.cell, finding.line) == (2, 2)
    assert audited(tmp_path / "nb.ipynb", notebook(*cells)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import random\nrandom.seed()  # deterministic: ignore[DET102] on purpose\n", []),
        ("import random\nrandom.seed()  # noqa # deterministic:ignore\n", []),
        ("import random\nrandom.seed()  # deterministic: ignore[DET101, DET102]\n", []),
        ("import random\nrandom.seed(\n    None,\n)  # deterministic: ignore[DET102]\n", []),
        ("import random\nfor i in random.Random():  # deterministic: ignore[DET101]\n    random.seed()\n", ["DET102"]),
        ("import random\nrandom.seed()  # deterministic: ignore[DET101]\n", ["DET102"]),
        ("import random\nrandom.seed()  # deterministic: ignore[DET10]\n", ["DET001", "DET102"]),
        ("import random\ntext = '# deterministic: ignore[DET10]'; random.seed()\n", ["DET102"]),
    ],
    ids=range(8),
)
def test_a_comment_ignores_what_it_names_in_its_statement(text: str, found: list[str], tmp_path: Path) -> None:
    assert sorted(finding.rule for finding in audited(tmp_path / "a.py", text)) == found


DEEP = 5000
UNREADABLE: dict[str, tuple[str, bytes | str, str]] = {
    "python 2": ("a.py", "print 'a'\n", "line 1"),
    "syntax": ("a.py", "x = 1\ndef f(:\n", "line 2"),
    "binary": ("a.py", bytes(range(128, 256)), "no text"),
    "encoding": ("a.py", b"# coding: klingon\n", "no text"),
    "not utf-8": ("a.py", b"name = '\xe9'\n", "no text"),
    "null bytes": ("a.py", b"x = 1\0\n", "null bytes"),
    "brackets": ("a.py", "(" * DEEP + ")" * DEEP, "nested"),
    "operators": ("a.py", "-" * 100_000 + "1", "nested"),
    "sum": ("a.py", "x = " + "1 + " * 100_000 + "1", "nested"),
    "attributes": ("a.py", "x" + ".a" * 100_000, "nested"),
    "one line": ("a.py", b"x = [" + b"1, " * (10 * 2**20 // 3) + b"]", "bytes"),
    "a line of data": ("a.py", "x = [" + "1, " * MOST_SIGNS + "]", "and at most 300,000 are parsed"),
    "a cell of data": ("a.ipynb", notebook(code("1\n" * (MOST_SIGNS + 1))), "and at most 300,000 are parsed"),
    "empty notebook": ("a.ipynb", "", "no notebook"),
    "list": ("a.ipynb", "[]", "no notebook"),
    "text": ("a.ipynb", "import random", "no notebook"),
    "cells": ("a.ipynb", '{"cells": 3}', "no notebook"),
    "cell": ("a.ipynb", notebook("x = 1"), "no notebook"),
    "source": ("a.ipynb", notebook(code(3)), "no notebook"),
    "deep": ("a.ipynb", "[" * 100_000, "no notebook"),
    "cell's syntax": ("a.ipynb", notebook(code("x = 1"), code("x = 1\ndef f(:")), "cell 2 line 2"),
}


if sys.version_info < (3, 11):  # which parses them, however long
    del UNREADABLE["sum"], UNREADABLE["attributes"]


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_told_and_why(case: str, tmp_path: Path) -> None:
    name, data, says = UNREADABLE[case]
    with pytest.raises(UnreadableError, match=says):
        audited(tmp_path / name, data)


N = 300
BUSY = {
    "names": "".join(f"a{i + 1} = a{i}.shuffle()\n" for i in range(N)),
    "condition": "import random\nif " + "a or " * N + "b:\n" + " random.Random()\n" * N,
    "seed": "import random\nx = [" + "a, " * N + "]\n" + "random.seed(x)\n" * N,
    "numbers": "x = [" + "1, " * N + "]\n" + "f(set(x))\n" * N,
    "attributes": "class D(Dataset):\n def __init__(self):\n  " + "self.a = " * N + "[" + "a, " * N + "]\n"
    " def __getitem__(self): self.a\n",
    "statement": "import random\n[\n" + "random.Random(),  # deterministic: ignore[DET102]\n" * N + "]",
    "reads": "x = set(y)\n" + "for a in x: b.append(a)\n" * N,
}


@pytest.mark.parametrize("case", BUSY)
def test_what_keeps_the_audit_busy_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited(tmp_path / "a.py", BUSY[case])
    monkeypatch.setattr(names, "MOST_STEPS", N * N // 4)
    with pytest.raises(UnreadableError, match="steps"):
        audited(tmp_path / "a.py", BUSY[case])


def test_so_is_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no such file"):
        audit(str(tmp_path / "nowhere.py"))
    if hasattr(os, "mkfifo"):  # opening it would wait
        os.mkfifo(tmp_path / "pipe.py")
        with pytest.raises(UnreadableError, match="no plain file"):
            audit(str(tmp_path / "pipe.py"))


def test_a_file_at_the_limit_is_read(tmp_path: Path) -> None:
    text = UNSEEDED + "#" * (LARGEST - len(UNSEEDED))
    assert len(audited(tmp_path / "a.py", text)) == 1


def test_folders_are_read_in_an_order_and_without_what_is_not_the_users(tmp_path: Path) -> None:
    for name in ("b.py", "a.ipynb", "c.txt", "sub/a.py", ".venv/a.py", "sub/node_modules/a.py", "build/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(path).relative_to(tmp_path).as_posix() for path in files_in([str(tmp_path)])]
    assert found == ["a.ipynb", "b.py", "sub/a.py"]
    named = str(tmp_path / "c.txt")
    assert list(files_in([named, f"{tmp_path}/./c.txt"])) == [named]


def test_a_link_to_a_folder_is_not_followed_round(tmp_path: Path) -> None:
    try:
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make a link")
    (tmp_path / "a.py").touch()
    assert len(list(files_in([str(tmp_path)]))) == 1


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.py").touch()
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    readable, locked = files_in([str(tmp_path)])
    assert audit(readable) == []
    with pytest.raises(UnreadableError, match="cannot be listed"):
        audit(locked)
