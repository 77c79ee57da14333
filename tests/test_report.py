"""The report of a scope: text, JSON, HTML and the sentence for a paper."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from deterministic import make_loader, reproducible, seed_worker
from deterministic.integrations.transformers import TrainerLoader
from deterministic.scope.report import ScopeReport
from deterministic.sources import SOURCES

from .processes import run_python

NUMBERS = TensorDataset(torch.arange(2))


def report_of(**arguments: Any) -> ScopeReport:
    with reproducible(**{"seed": 3, **arguments}) as run:
        return run.report()


def rows(report: ScopeReport) -> dict[str, str]:
    """Return the lines of the text that have a name and a value."""
    return dict(re.findall(r"^  (\S+)  +(\S.*)$", str(report), re.MULTILINE))


def test_the_text_names_each_flag_and_generator_with_what_was_there_and_what_was_set() -> None:
    with reproducible(seed=None, deterministic=False):
        torch.backends.cudnn.benchmark = True
        found = rows(report_of(num_threads=1))
        threads = torch.get_num_threads()
    assert found["torch.cudnn.benchmark"] == "True -> False"
    assert found["torch.deterministic_algorithms.enabled"] == "False -> True"
    assert found["torch.threads.num_threads"] == f"{threads} -> 1"
    assert found["python.random"] == found["numpy.random"] == found["torch.cpu"] == "seed 3"


def test_the_text_begins_with_what_was_asked_and_where() -> None:
    with reproducible(5, deterministic="warn") as run:
        line = str(run.report()).splitlines()[0]
    assert re.fullmatch(rf"reproducible: seed 5, deterministic='warn', entered at {re.escape(__file__)}:\d+", line), (
        line
    )


def test_the_text_says_nothing_of_what_was_not_set() -> None:
    found = rows(report_of(deterministic=False))
    assert not [name for name in found if name.startswith(("torch.cudnn", "torch.deterministic"))]
    assert "python.random" not in rows(report_of(seed=None))


def test_the_versions_are_those_of_this_process() -> None:
    found = report_of().data["versions"]
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["num_threads"] == torch.get_num_threads()
    assert found["python"].startswith("3.")
    assert {"cuda", "cudnn", "platform", "device", "deterministic"} <= found.keys()


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_json_through_and_through(enabled: bool) -> None:
    report = report_of(enabled=enabled, generators=[torch.Generator(), np.random.default_rng()], num_threads=1)
    assert json.loads(report.to_json()) == report.data
    assert report.to_json(indent=2).startswith("{\n  ")


def test_every_source_is_in_it_in_order_also_the_users_own_generators() -> None:
    names = [source["name"] for source in report_of(generators=[torch.Generator()]).data["sources"]]
    assert names == [*(source.name for source in SOURCES), "generators[0]"]


def subjects(report: ScopeReport) -> set[str]:
    return {limit["subject"] for limit in report.data["limits"]}


def test_the_number_of_threads_is_a_limit_until_it_is_pinned() -> None:
    assert "CPU threads" in subjects(report_of())
    assert "CPU threads" not in subjects(report_of(num_threads=1))
    assert "CPU threads" not in subjects(report_of(seed=None))


def test_a_limit_comes_with_its_remedy() -> None:
    report = report_of()
    assert report.data["limits"]
    for limit in report.data["limits"]:
        assert limit.keys() == {"subject", "reason", "remedy"}
        assert f"  {limit['subject']}: {limit['reason']}\n    {limit['remedy']}" in str(report)


def test_the_hash_seed_of_a_running_interpreter_is_a_limit_unless_it_was_fixed() -> None:
    randomised = os.environ.get("PYTHONHASHSEED", "random") == "random"
    assert ("PYTHONHASHSEED" in subjects(report_of())) == randomised
    code = (
        "from deterministic import reproducible\n"
        "with reproducible(0, num_threads=1) as run: print([limit['subject'] for limit in run.report().data['limits']])"
    )
    expected = "[]" if randomised else "['PYTHONHASHSEED']"
    assert run_python(code, PYTHONHASHSEED="0" if randomised else "random") == expected


def test_without_limits_there_is_no_heading_for_them() -> None:
    report = report_of()
    assert "\nnot controlled\n" in str(report)
    assert "<b>not controlled</b>" in report._repr_html_()
    report.data["limits"] = []
    assert "not controlled" not in str(report)
    assert "not controlled" not in report._repr_html_()


def test_the_report_of_a_closed_scope_says_what_it_did_and_that_it_is_closed() -> None:
    with reproducible(3) as run:
        inside = run.report().data
    torch.get_num_threads()
    after = run.report().data
    assert inside.pop("open") is True
    assert after.pop("open") is False
    assert inside == after


def test_the_report_of_an_outer_scope_does_not_change_when_an_inner_one_closes_late() -> None:
    with reproducible(3) as run:
        before = run.report().data
        with reproducible(4):
            assert run.report().data["sources"] == before["sources"]


def test_the_report_of_a_scope_that_was_not_enabled_says_so() -> None:
    report = report_of(enabled=False)
    assert str(report) == "reproducible: not enabled; nothing was seeded or set"
    assert report._repr_html_() == f"<p>{report}</p>"
    assert report.data["enabled"] is False
    assert report.sentence().startswith("Randomness was not controlled (deterministic ")


def test_html_escapes_what_comes_from_outside() -> None:
    name = "<img src=x onerror=alert(1)>&.py"
    namespace: dict[str, Any] = {"reproducible": reproducible}
    exec(compile("with reproducible(3) as run: report = run.report()", name, "exec"), namespace)
    html = namespace["report"]._repr_html_()
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;.py:1" in html
    assert "<img" not in html


def test_html_escapes_every_cell() -> None:
    report = report_of()
    for place in ("subject", "reason", "remedy"):
        report.data["limits"][0][place] = f"<{place}>"
    report.data["sources"][0] |= {"kind": "setting", "set": {"<key>": {"before": "<before>", "set": "<set>"}}}
    report.data["versions"]["<version>"] = "<number>"
    html = report._repr_html_()
    for tag in ("subject", "reason", "remedy", "key", "before", "set", "version", "number"):
        assert f"&lt;{tag}&gt;" in html
        assert f"<{tag}>" not in html


def test_html_shows_what_the_text_shows() -> None:
    report = report_of()
    html = report._repr_html_()
    assert "seed 3, deterministic=True" in html
    for name in rows(report):
        assert f">{name}</td>" in html


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (False, "deterministic algorithms were not requested"),
        ("cudnn", "cuDNN was restricted to deterministic algorithms"),
        (True, "PyTorch was restricted to deterministic algorithms"),
        ("warn", "PyTorch used deterministic algorithms where it has them"),
    ],
)
def test_the_sentence_says_seed_level_and_versions(level: Any, words: str) -> None:
    sentence = report_of(deterministic=level).sentence()
    assert sentence.startswith(
        f"The random number generators of Python, NumPy and PyTorch were seeded with 3, and {words} (deterministic "
    )
    assert f"PyTorch {torch.__version__}, NumPy {np.__version__} and Python 3." in sentence
    assert sentence.endswith(").")
    assert "\n" not in sentence


def test_the_sentence_says_when_nothing_was_seeded() -> None:
    assert "were left unseeded" in report_of(seed=None).sentence()


def test_where_nondeterministic_operations_were_allowed_is_told() -> None:
    with reproducible(seed=3) as run:
        line = sys._getframe().f_lineno + 2
        for _ in range(2):
            with run.allow_nondeterministic():
                pass
        assert "deterministic algorithms, but for one block of code in which others were allowed (" in (
            run.report().sentence()
        )
        with run.allow_nondeterministic():
            pass
    report = run.report()
    assert ", but for 2 blocks of code in which" in report.sentence()
    for shown in (str(report), report._repr_html_()):
        assert "where nondeterministic operations were allowed" in shown
        assert f"test_report.py:{line}" in shown
    assert "allowed" not in str(report_of())
    assert "allowed" not in report_of().sentence()


def test_what_the_code_seeds_itself_is_told_with_its_line() -> None:
    with reproducible(seed=3) as run:
        torch.manual_seed(7)
        np.random.seed(8)
        random.seed("nine")
        line = sys._getframe().f_lineno - 3
    text, html = str(run.report()), run.report()._repr_html_()
    assert "seeded by the code itself" in text
    assert "seeded by the code itself" in html
    for name, seed, offset in (("torch", "7", 0), ("numpy.random", "8", 1), ("python.random", "nine", 2)):
        said = f"seed {seed}, at tests/test_report.py:{line + offset}"
        assert re.search(rf"^  {name} +{said}$", text, re.MULTILINE)
        assert said in html


def test_what_nobody_seeded_but_the_scope_is_not_told_of() -> None:
    assert "seeded by the code" not in str(report_of())
    assert report_of().data["seeded"] == []


def test_a_plain_loader_that_was_iterated_is_not_controlled() -> None:
    plain = DataLoader(NUMBERS)
    with reproducible(seed=3) as outer, reproducible(seed=4) as run:
        for _ in range(2):
            list(plain)
        line = sys._getframe().f_lineno - 1
    for report in (outer.report(), run.report()):
        assert [limit for limit in report.data["limits"] if "DataLoader" in limit["subject"]] == [
            {
                "subject": f"a plain DataLoader, iterated at tests/test_report.py:{line}",
                "reason": "What its samples draw depends on num_workers; and each epoch moves torch's generator, if it "
                "has none.",
                "remedy": "Make it with make_loader(dataset, ...), which takes the same arguments.",
            }
        ]


def test_loaders_that_are_controlled_or_not_iterated_are_not_named() -> None:
    outside = DataLoader.__dict__["__iter__"]
    with reproducible(seed=3) as run:
        DataLoader(NUMBERS)
        list(make_loader([1, 2], shuffle=True))
        list(make_loader([1, 2], randomness="worker"))
        list(DataLoader(NUMBERS, worker_init_fn=seed_worker, generator=torch.Generator()))
        list(TrainerLoader(make_loader([1, 2])))
    assert not [subject for subject in subjects(run.report()) if "DataLoader" in subject]
    assert DataLoader.__dict__["__iter__"] is outside
