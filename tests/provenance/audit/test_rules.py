"""Each rule finds what it must and nothing else, and its snippets fail without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deterministic.provenance.audit import audit as module
from deterministic.provenance.audit.audit import audit
from deterministic.provenance.audit.files import files_in
from deterministic.provenance.audit.rules import RULES
from deterministic.provenance.audit.seeds import Found

from ...processes import ROOT
from .snippets import FOUND, IMPORTS, NOT_FOUND


def rules_in(text: str, folder: Path) -> set[str]:
    path = folder / "program.py"
    path.write_text(IMPORTS + text, encoding="utf-8")
    return {finding.rule for finding in audit(str(path))}


def missed(rule: str, folder: Path) -> list[str]:
    return [text for text in FOUND[rule] if rule not in rules_in(text, folder)]


@pytest.mark.parametrize("rule", FOUND)
def test_a_rule_finds_what_it_must(rule: str, tmp_path: Path) -> None:
    assert missed(rule, tmp_path) == []


@pytest.mark.parametrize("rule", NOT_FOUND)
def test_what_only_looks_like_it_is_not_found(rule: str, tmp_path: Path) -> None:
    assert [text for text in NOT_FOUND[rule] if rules_in(text, tmp_path)] == []


def test_every_rule_has_snippets_of_both_kinds() -> None:
    assert FOUND.keys() == NOT_FOUND.keys() == RULES.keys() - {"DET001"}


@pytest.mark.parametrize("rule", FOUND)
def test_without_the_rule_each_of_its_snippets_fails(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(check: Found) -> Found:
        return (found for found in check if found[1] != rule)

    checks = [lambda source, check=check: without(check(source)) for check in module.CHECKS]
    monkeypatch.setattr(module, "CHECKS", checks)
    assert missed(rule, tmp_path) == FOUND[rule]


def test_an_alternative_that_is_found_says_where_and_what(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("import numpy\n\nclass A:\n    rng = numpy.random.default_rng()\n")
    (finding,) = audit(str(path))
    assert finding == (str(path), 0, 4, 11, "DET101", "numpy.random.default_rng() without a seed")
    assert finding.place == f"{path}:4:11"


def test_a_column_is_counted_in_characters(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("import random\n'größer'; rng = random.Random()\n", encoding="utf-8")
    (finding,) = audit(str(path))
    assert finding.place == f"{path}:2:17"


def test_nothing_is_found_in_the_library_and_what_it_shows() -> None:
    folders = [str(ROOT / name) for name in ("deterministic", "examples", "benchmarks", "docs", "findings")]
    assert [finding.place for path in files_in(folders) for finding in audit(path)] == []


def test_the_page_has_each_rule_with_its_why_and_fix() -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (DET\d+)$", page, re.M) == list(RULES)
    for rule in RULES.values():
        section = page.partition(f"### {rule.id}\n")[2].partition("\n### ")[0]
        for text in (rule.what, rule.why, rule.fix):
            assert text[1:] in section
