"""A plain command line is read as argparse reads it; whatever is not plain is left to argparse."""

from __future__ import annotations

import argparse

import pytest

from deterministic.cli import _plain, verb_of


def plainly(command_line: str) -> dict[str, object] | None:
    found = _plain.plainly(verb_of("run").add_arguments, command_line.split())
    return None if found is None else vars(found)


def by_argparse(command_line: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(prog="deterministic")
    verb = parser.add_subparsers().add_parser("run")
    verb_of("run").add_arguments(verb)
    return vars(parser.parse_args(["run", *command_line.split()]))


@pytest.mark.parametrize(
    "command_line",
    [
        "train.py",
        "-q train.py --seed 3 -q",
        "--seed 0x10 --deterministic WARN --num-threads 2 --portable train.py -x",
        "--config train.yaml --quiet -m package.train --lr=1e-3 -1",
        "--seeds 42:3 --jobs 2 train.py",
        "--seed 1 --seed 2 train.py train.py",
        "--seeds-file seeds.json train.py",
    ],
)
def test_a_plain_line_is_read_as_argparse_reads_it(command_line: str) -> None:
    assert plainly(command_line) == by_argparse(command_line)


@pytest.mark.parametrize(
    "command_line",
    [
        "",
        "--quiet",
        "--help",
        "-h train.py",
        "--seed",
        "--seed=3 train.py",
        "--seed x train.py",
        "--seed -1 train.py",
        "--deterministic sometimes train.py",
        "--num-threads 0 train.py",
        "--seeds 1,1 train.py",
        "--config -x train.py",
        "-qm package",
        "--sed 3 train.py",
        "-- train.py",
        "train.py -- x",
    ],
)
def test_what_is_not_plain_is_left_to_argparse(command_line: str) -> None:
    assert plainly(command_line) is None
