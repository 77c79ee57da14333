"""What two manifests differ in: ranked, with why, and bounded, whatever stands in them."""

from __future__ import annotations

import pytest

from deterministic import Manifest
from deterministic.provenance.tiers import LAST_THAT_ALTERS, TABLE, tier_of

BASE = {
    "schema": 1,
    "created": "then",
    "seed": 1,
    "settings.torch.cudnn.benchmark": False,
    "versions.torch": "2.13.0",
    "cpu.vendor": "GenuineIntel",
    "settings.torch.threads.num_threads": 2,
    "settings.environment.PYTHONHASHSEED": "0",
    "packages.scipy": "1.0",
    "os.release": "6",
}


@pytest.mark.parametrize(
    ("field", "tier"),
    [
        ("seed", 1),
        ("git.diff_sha256", 1),
        ("argv", 1),
        ("data.train.part", 1),
        ("generators.torch.cpu.digest", 1),
        ("settings.torch.cudnn.benchmark", 2),
        ("settings.environment.NVIDIA_TF32_OVERRIDE", 2),
        ("versions.torch", 3),
        ("torch.git", 3),
        ("gpu.names", 3),
        ("kernels.triton", 3),
        ("cpu.vendor", 4),
        ("settings.environment.MKL_CBWR", 4),
        ("settings.environment.OMP_NUM_THREADS", 5),
        ("settings.torch.threads.num_threads", 5),
        ("world_size", 5),
        ("settings.environment.PYTHONHASHSEED", 6),
        ("versions.numpy", 6),
        ("gpu.driver", 7),
        ("packages.scipy", 7),
        ("os.release", 8),
        ("seed.numpy", 8),
        ("something.new", 8),
    ],
)
def test_each_field_has_its_tier(field: str, tier: int) -> None:
    assert tier_of(field).number == tier
    found = Manifest({"schema": 1}).diff(Manifest({"schema": 1, field: "x"}))
    assert found.can_alter_bits is (tier <= LAST_THAT_ALTERS)
    assert found.exit_code == int(tier <= LAST_THAT_ALTERS)


def test_every_row_of_the_table_says_why_and_what_to_do() -> None:
    assert all(row.why and row.remedy for row in TABLE)
    assert [row.number for row in TABLE] == sorted(row.number for row in TABLE)
    assert {row.number for row in TABLE} == {*range(1, 9)}
    names = [name for row in TABLE for name in row.names.split()]
    assert len(names) == len({*names})


def test_differences_are_ranked() -> None:
    other = {name: f"other {value}" for name, value in BASE.items()} | {"schema": 1}
    found = Manifest(BASE).diff(Manifest(other))
    assert [one.tier for one in found.differences] == [1, 2, 3, 4, 5, 6, 7, 8]
    text = str(found)
    assert text.startswith("6 differences can alter bits\n  1  seed")
    assert "the vendor's name alone altered 23 of 81 operations" in text
    assert "2 differences less likely to alter bits" in text
    assert found.as_data()["differences"][0]["field"] == "seed"
    assert bool(found) is True


def test_no_difference_is_none() -> None:
    found = Manifest(BASE).diff(Manifest({**BASE, "created": "now", "reason.x": "y", "none": None}))
    assert (str(found), found.exit_code, bool(found)) == ("the manifests agree in every field", 0, False)


def test_what_one_side_does_not_know_is_no_difference_that_alters() -> None:
    unknown = {**BASE, "git.commit": None, "reason.git.commit": "no git", "generators": None, "reason.generators": "x"}
    known = {**BASE, "git.commit": "abc", "generators.torch.cpu.digest": "12"}
    for a, b in ((unknown, known), (known, unknown)):
        found = Manifest(a).diff(Manifest(b))
        assert found.exit_code == 0
        assert [(one.field, one.is_known) for one in found.differences] == [
            ("git.commit", False),
            ("generators.torch.cpu.digest", False),
        ]
        assert "2 differences that cannot be told" in str(found)
    assert Manifest({**BASE, "git.commit": None}).diff(Manifest(known)).exit_code == 1, "unless there is no reason"


def test_true_is_not_one() -> None:
    assert Manifest({"schema": 1, "x": 1}).diff(Manifest({"schema": 1, "x": True})).differences


def test_what_is_foreign_is_shown_bounded_and_printable() -> None:
    hostile = {"a." * 10**6: 1, "\x1b[31m" + "n" * 10_000: "\x1b[2J\n" * 10_000, "\ud800": ["x" * 1000] * 1000}
    many = {f"packages.p{number}": "1" for number in range(10_000)}
    text = str(Manifest({"schema": 1}).diff(Manifest({"schema": 1, **hostile, **many})))
    assert len(text) < 10_000
    assert text.replace("\n", "").isprintable()
    assert "9,973 more" in text
    str(Manifest({"schema": 1, **hostile})).encode("utf-8")
