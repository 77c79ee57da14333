"""The pages: every block of Python runs, what a page says that it prints it prints, and no link leads nowhere.

A page is a story: its blocks run in order, in one module of their own and in an empty directory. Before a block

- `<!-- not run: reason -->` keeps it from running,
- `<!-- file: NAME -->` writes it into that file instead,
- `<!-- runs -->` runs its lines of shell, with the commands of this Python's environment; of a `console` the lines that
  begin with a dollar are run, and those that follow are held against what each printed,
- `<!-- prints -->` holds its text against what the block above printed.
"""

from __future__ import annotations

import configparser
import contextlib
import doctest
import inspect
import io
import os
import re
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import deterministic
from deterministic import distributed, errors, testing
from deterministic.ground import snapshot
from deterministic.sources import SOURCES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
MOST_NOT_RUN = 4

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n+)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?P<page>[\w./-]*)(?:#(?P<anchor>[\w-]+))?\)")
_NOT_RUN = re.compile(r"not run: \S.*")
_FILE = re.compile(r"file: (?P<name>[\w./-]+)")
_PRINTS, _RUNS = "prints", "runs"
_CONSOLE = "console"
_COMMAND = re.compile(r"^\$ (?P<line>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.MULTILINE)


class Block(NamedTuple):
    line: int
    mark: str
    language: str
    text: str

    @property
    def is_python(self) -> bool:
        return self.language == "python"

    @property
    def is_run(self) -> bool:
        return self.is_python and not self.mark

    @property
    def has_a_meaning(self) -> bool:
        """Whether the mark says something of a block like this one."""
        if not self.mark or _FILE.fullmatch(self.mark):
            return True
        if self.is_python:
            return _NOT_RUN.fullmatch(self.mark) is not None
        return self.mark == (_RUNS if self.language in ("sh", _CONSOLE) else _PRINTS)


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        ValueError: A mark has no meaning, or a block is not recognised, so either would silently do nothing.
    """
    found = [
        Block(page.count("\n", 0, match.start("text")), match["mark"] or "", match["language"], match["text"])
        for match in _BLOCK.finditer(page)
    ]
    for block in found:
        if not block.has_a_meaning:
            raise ValueError(f"line {block.line}: <!-- {block.mark} --> has no meaning before {block.language!r}")
    if len(re.findall(r"(```|~~~) *\{?(code-block|py)", page)) != sum(block.is_python for block in found):
        raise ValueError("a block of Python is indented, or is fenced otherwise than by ```python")
    return found


def run_page(page: str, name: str) -> int:
    """Run the blocks of a page in a module of their own; return how many have run."""
    module = types.ModuleType(f"page_{len(page)}")
    sys.modules[module.__name__] = module
    printed, count = "", 0
    try:
        for block in blocks_of(page):
            if block.is_run:
                # Line numbers of a traceback, and of a report, are those of the page.
                code = compile("\n" * block.line + block.text, name, "exec", dont_inherit=True)
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(code, module.__dict__)
                printed, count = output.getvalue(), count + 1
            elif (file := _FILE.fullmatch(block.mark)) is not None:
                Path(file["name"]).write_text(block.text, encoding="utf-8")
            elif block.mark == _RUNS:
                place = f"{name}:{block.line}"
                printed = (session if block.language == _CONSOLE else shell)(block.text, place)
            elif block.mark == _PRINTS:
                compare(block.text, printed, f"{name}:{block.line}")
    finally:
        del sys.modules[module.__name__]
    return count


def compare(expected: str, printed: str, place: str) -> None:
    """Raise where a page shows something else than what was printed."""
    if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
        raise AssertionError(f"{place}: expected\n{expected}\nbut found\n{printed}")


_GLOOS_END = "terminate called without an active exception"
"""What gloo's threads abort a rank with now and then, on a loaded machine, when all is done and the process ends."""


def shell(lines: str, place: str, attempts: int = 3) -> str:
    """Run lines of shell as a reader would, in the directory of the page; return what they print."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    if not done.returncode:
        return done.stdout
    log = Path("log").read_text(encoding="utf-8") if Path("log").exists() else ""
    if _GLOOS_END in log and attempts > 1:
        return shell(lines, place, attempts - 1)
    raise AssertionError(f"{place}: exit status {done.returncode}\n{done.stdout}{log}")


def session(text: str, place: str) -> str:
    """Run the commands of a terminal that a page shows, whatever their exit status; return what all of them print.

    Raises:
        AssertionError: There is no command, or one prints something else than what the page shows below it.
    """
    commands = list(_COMMAND.finditer(text))
    if not commands:
        raise AssertionError(f"{place}: no line begins with a dollar, so nothing would be run")
    printed = ""
    for command in commands:
        found = shell(f"{command['line']} || true", place)
        compare(command["shown"], found, place)
        printed += found
    return printed


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page's headings, as Sphinx and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str, folder: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of one."""
    broken = []
    for match in _LINK.finditer(_BLOCK.sub("", page)):
        target = folder / match["page"] if match["page"] else None
        if target is not None and not target.exists():
            broken.append(match[0])
        elif match["anchor"]:
            text = page if target is None else target.read_text(encoding="utf-8")
            if match["anchor"] not in anchors_of(text):
                broken.append(match[0])
    return broken


@pytest.fixture
def own_process() -> Iterator[None]:
    """Give back what a page changes in its reader's process: generators that it seeds, sources that it registers.

    One thread, because on a busy machine two take four times as long for so little work.
    """
    sources, threads = list(SOURCES), torch.get_num_threads()
    generators = snapshot.capture(source for source in SOURCES if source.kind == "rng")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    SOURCES[:] = sources
    snapshot.restore(generators)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
@pytest.mark.usefixtures("own_process")
def test_the_blocks_of_a_page_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = path.read_text(encoding="utf-8")

    count = run_page(page, path.relative_to(ROOT).as_posix())

    assert count == sum(block.is_run for block in blocks_of(page))


@pytest.mark.slow
def test_the_programs_of_the_readme_pass_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is in the extra `typing`")
    # What mypy knows of torch it finds where the command of the whole repository keeps it, and keeps it there for that.
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg")
    setup["mypy"].update({"mypy_path": f"{tmp_path}{os.pathsep}{ROOT}", "cache_dir": str(ROOT / ".mypy_cache")})
    setup["mypy-deterministic.*"] = {"follow_imports": "silent"}
    with (tmp_path / "mypy.ini").open("w", encoding="utf-8") as settings:
        setup.write(settings)
    programs = [block.text for block in blocks_of((ROOT / "README.md").read_text(encoding="utf-8")) if block.is_python]
    files = [tmp_path / f"program{number}.py" for number in range(len(programs))]
    for file, text in zip(files, programs, strict=True):
        file.write_text(text, encoding="utf-8")

    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert programs
    assert done.returncode == 0, done.stdout + done.stderr


def test_few_blocks_are_not_run() -> None:
    not_run = [
        f"{path.name}:{block.line}: {block.mark}"
        for path in PAGES
        for block in blocks_of(path.read_text(encoding="utf-8"))
        if block.is_python and _NOT_RUN.fullmatch(block.mark)
    ]

    assert len(not_run) <= MOST_NOT_RUN, not_run


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    assert broken_links(path.read_text(encoding="utf-8"), path.parent) == []


def test_every_page_stands_in_one_group_of_at_most_seven() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    found = re.findall(r"^```\{toctree\}\n:caption: (.*)\n:maxdepth: 1\n\n((?:\w+\n)*)```", index, re.MULTILINE)
    groups = {caption: entries.split() for caption, entries in found}

    assert list(groups) == ["Start", "How to", "Reference", "Background"]
    assert max(map(len, groups.values())) <= 7
    entries = [entry for group in groups.values() for entry in group]
    assert sorted([*entries, "index"]) == sorted(page.stem for page in DOCS.glob("*.md"))


def test_the_page_of_sources_is_what_its_generator_writes() -> None:
    kept = (DOCS / "sources.md").read_text(encoding="utf-8")
    again = runpy.run_path(str(DOCS / "generate_sources.py"))["page"]()

    if f"PyTorch {torch.__version__}." not in kept:
        # Another build has other values; which sources there are, and of which kind, depends on the code alone.
        kept, again = (" ".join(re.findall(r"^\| \[.*?\]\(.*?\) \| \w+ \|", text, re.M)) for text in (kept, again))
    assert again == kept, "run: python docs/generate_sources.py"


def test_the_reference_has_every_public_name() -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", reference, re.MULTILINE))

    for module in (deterministic, distributed, errors, testing):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= documented


def test_the_reference_has_the_arguments_of_reproducible() -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"autofunction:: deterministic\.reproducible\((.*)\)$", reference, re.MULTILINE)

    assert re.findall(r"(\w+)=", written) == list(inspect.signature(type(deterministic.reproducible())).parameters)


BROKEN = {
    "raises": "```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n",
    "prints another": "```python\nprint(1)\n```\n\n<!-- prints -->\n```text\n2\n```\n",
    "shell fails": "<!-- runs -->\n```sh\nfalse\ntrue\n```\n",
    "shell prints another": "<!-- runs -->\n```sh\necho 1\n```\n\n<!-- prints -->\n```text\n2\n```\n",
    "a console prints another": "<!-- runs -->\n```console\n$ echo 1\n1\n$ echo 2\n1\n```\n",
    "a console without a command": "<!-- runs -->\n```console\necho 1\n```\n",
    "a mark of another language": "<!-- runs -->\n```text\necho 1\n```\n",
    "misspelt mark": "<!-- not-run: no reason -->\n```python\nraise ValueError\n```\n",
    "no reason": "<!-- not run: -->\n```python\nraise ValueError\n```\n",
    "indented": "- item\n  ```python\n  x = 1\n  ```\n",
    "other fence": "~~~python\nx = 1\n~~~\n",
    "other name": "```pycon\n>>> x\n```\n",
}


@pytest.mark.parametrize("page", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_block_fails(page: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        run_page(page, "page.md")


def test_a_block_that_is_marked_is_not_run() -> None:
    page = "<!-- not run: needs two machines -->\n```python\nraise ValueError\n```\n"

    assert run_page(page, "page.md") == 0
    assert [block.is_run for block in blocks_of(page)] == [False]


def test_a_block_runs_in_the_module_of_the_blocks_before_it() -> None:
    page = "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n<!-- prints -->\n```text\n2\n```\n"

    assert run_page(page, "page.md") == 2


def test_a_file_is_written_for_the_lines_of_shell_that_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (
        "<!-- file: a.py -->\n```python\nimport sys\nprint(sys.argv[1])\n```\n\n"
        "<!-- runs -->\n```sh\npython a.py word\n```\n\n<!-- prints -->\n```text\nword\n```\n"
    )

    assert run_page(page, "page.md") == 0


def test_a_console_shows_what_its_commands_print_also_where_they_fail() -> None:
    assert run_page("<!-- runs -->\n```console\n$ echo 1; false\n1\n$ true\n$ echo a b\na ...\n```\n", "page.md") == 0


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One heading\n", encoding="utf-8")
    page = "# Here\n[a](other.md) [b](other.md#one-heading) [c](#here) [d](gone.md) [e](other.md#two) [f](#there)\n"

    assert broken_links(page, tmp_path) == ["](gone.md)", "](other.md#two)", "](#there)"]
