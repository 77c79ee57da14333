from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deterministic.cli import main
from deterministic.cli._look import annotation
from deterministic.trace.comparing.divergence import Comparison, Divergence, Moment
from deterministic.trace.comparing.verdict import Verdict
from deterministic.trace.file.model import Line, Site, Step
from deterministic.verification.report import Report


def different(site: Site) -> Report:
    moment = Moment(site, [1], 3)
    divergence = Divergence(Step(0, 1), "ops+inputs", 1, moment, moment, [])
    verdict = Verdict("different", ("run 1", "run 2"), Comparison("ops+inputs", 2, divergence))
    return Report("train.py", "different", 2, 2, [1.0, 1.0], verdict, [], [])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path


def test_a_difference_is_an_error_at_the_users_line_of_the_repository(repository: Path) -> None:
    callers = (Line("train.py:1", "train", "x = 1", True),)
    report = different(Site("operation", "aten.mul.Tensor", place="package.py:7", callers=callers))
    line = annotation(report, {"GITHUB_WORKSPACE": str(repository)})
    assert line.startswith("::error file=sub/train.py,line=1,title=not reproducible%3A run 2 of train.py differs ")
    assert line.count("\n") == 1
    assert "%0A  first difference" in line


@pytest.mark.usefixtures("repository")
def test_a_line_that_is_in_no_file_of_the_repository_is_left_out() -> None:
    for place in ("package.py:7", "Cell In[3]:1", ""):
        assert annotation(different(Site("loss", "", place=place)), {}).startswith("::error title=not repro")


def test_what_github_reads_is_escaped() -> None:
    report = Report("a, b: 100%\r\n::c", "same", 2, 1, [1.0], None, [], [])
    title, message = annotation(report, {}).removeprefix("::notice title=").split("::", 1)
    assert title == "bit-exact%3A 2 runs of a%2C b%3A 100%25%0D%0A%3A%3Ac%2C 1 step each"
    assert message == "bit-exact: 2 runs of a, b: 100%25%0D%0A::c, 1 step each\n"
    untold = replace(report, title="a", outcome="could not tell", reasons=["nothing"])
    assert annotation(untold, {}) == (
        "::error title=could not tell whether a is bit-exact%2C after 2 runs"
        "::could not tell whether a is bit-exact, after 2 runs%0A  nothing\n"
    )


def test_the_command_writes_it_below_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "--format", "github", "--runs", "2", "train.py"]) == 2
    report, _, annotated = capsys.readouterr().out.partition("::error title=")
    assert report.startswith("could not tell whether train.py is bit-exact")
    assert annotated.endswith("\n")
    with pytest.raises(SystemExit) as refused:
        main(["verify", "--format", "github", "--json", "train.py"])
    assert refused.value.code == 2
