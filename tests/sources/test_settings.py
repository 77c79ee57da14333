"""The settings that are rows of flags: every flag comes back, and one that this torch lacks is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from deterministic import describe, reproducible
from deterministic.ground.config import Config, Level
from deterministic.ground.source import NOTHING, Source
from deterministic.sources import SOURCES
from deterministic.sources.settings import (
    Attention,
    Cudnn,
    Flag,
    FlagSource,
    FlushDenormal,
    Mkldnn,
    ReducedPrecision,
    to_json,
)
from deterministic.testing import check_source

FLAG_SOURCES = [source for source in SOURCES if isinstance(source, FlagSource)]
every_source = pytest.mark.parametrize("source", FLAG_SOURCES, ids=lambda source: source.name)


def members(enum: Any) -> list[int]:
    return [] if enum is None else [member.value for member in enum.__members__.values()]


OTHERS: dict[str, list[Any]] = {
    "benchmark_limit": [3, 4],
    "depthwise_kernel": ["cudnn", "native", "auto"],
    "priority_order": [[2, 1, 0, 3, 4], [1, 2, 0, 3, 4]],
    "opt_einsum_enabled": [("unset", True), ("unset", False), (True, False)],
    "opt_einsum_strategy": [("unset", "greedy"), ("optimal", "auto"), ("unset", None)],
    "linalg": members(torch._C._LinalgBackend),
    "blas": members(torch._C._BlasBackend),
    "rocm_flash": members(getattr(torch._C, "_ROCmFABackend", None)),
    "quantized_engine": list(torch._C._supported_qengines()),
    "num_threads": [1, 2],
    "dtype": [torch.float64, torch.float32],
    "device": ["meta", "cpu"],
    "cpu_dtype": [torch.float16, torch.bfloat16],
    "cuda_dtype": [torch.float16, torch.bfloat16],
    "bufsize": [4096, 8192],
    "cuda_fp16_reduction": [(False, True), (True, True)],
    "cuda_bf16_reduction": [(False, True), (True, True)],
}
"""Two values or more for each flag that is no bool."""


NEEDS_HARDWARE = {"linalg", "blas", "cpu_fp16_reduction"}
"""Flags whose setter refuses every other value where torch was built without CUDA, or the processor lacks it."""


def change(flag: Flag) -> bool:
    """Set a flag to another value than it has; return whether this machine lets it."""
    now = flag.get()
    for value in [not now] if isinstance(now, bool) else OTHERS[flag.name]:
        if value == now:
            continue
        try:
            flag.set(value)
        except RuntimeError:
            assert flag.name in NEEDS_HARDWARE
            flag.set(now)  # torch stores a preferred backend and refuses it afterwards
        if flag.get() == value:
            return True
    assert flag.name in NEEDS_HARDWARE, f"{flag.name} stays {now!r}: this test needs another value for it"
    return False


@every_source
def test_every_flag_that_is_changed_inside_comes_back(source: FlagSource) -> None:
    before = describe()
    with reproducible(seed=None, deterministic=False):
        changed = [flag.name for flag in source._flags if change(flag)]
        inside = describe()[source.name]
        assert [name for name, value in inside.items() if value != before[source.name][name]] == changed != []
    assert describe() == before


@every_source
def test_every_flag_comes_back_alone_also_to_a_value_that_is_not_the_default(source: FlagSource) -> None:
    with reproducible(seed=None, deterministic=False):
        for flag in source._flags:
            changed = change(flag)
            before = describe()
            with reproducible(seed=None, deterministic=False):
                assert change(flag) == changed == (describe() != before)
            assert describe() == before


@every_source
def test_its_description_is_json_and_names_every_flag(source: FlagSource) -> None:
    description = source.describe(source.capture())
    assert json.loads(json.dumps(description)) == description
    assert list(description) == [flag.name for flag in source._flags]


@pytest.mark.parametrize("level", [False, "cudnn", True, "warn"])
@pytest.mark.parametrize(
    "source", [source for source in SOURCES if source.kind == "setting"], ids=lambda source: source.name
)
def test_what_a_level_sets_is_what_it_reports(source: Source, level: Level) -> None:
    with reproducible(seed=None, deterministic=False):
        torch._C._set_deterministic_algorithms(False, warn_only=True)
        torch.backends.cudnn.benchmark = True
        before = source.describe(source.capture())
        applied = dict(source.apply(Config(deterministic=level)).values)
        if "once_imported" in applied:  # inductor, in words, while it is not imported
            assert applied.pop("once_imported")
            applied["deterministic"] = True
        assert source.describe(source.capture()) == {**before, **applied}


def test_a_source_that_is_as_it_was_is_not_written_to() -> None:
    def refuse(value: object) -> None:
        pytest.fail("a setter was called")

    source = FlagSource([Flag("flag", lambda: 3, refuse)])
    source.restore(source.capture())


def test_only_the_flag_that_was_changed_is_written_back() -> None:
    values = {"a": 1, "b": 2}
    written = []

    def flag(name: str) -> Flag:
        def write(value: int) -> None:
            written.append(name)
            values[name] = value

        return Flag(name, lambda: values[name], write)

    source = FlagSource([flag("a"), None, flag("b")])
    state = source.capture()
    values["b"] = 5
    source.restore(state)
    assert values == {"a": 1, "b": 2}
    assert written == ["b"]


def test_by_default_a_flag_source_applies_nothing() -> None:
    assert FlagSource([]).apply(Config(3, True, 1)) is NOTHING


# class, function of torch._C that an older torch lacks, the flag behind it
ABSENT: list[tuple[type[Any], str, str]] = [
    (Cudnn, "_get_cudnn_depthwise_kernel", "depthwise_kernel"),
    (Cudnn, "_set_miopen_immediate", "miopen_immediate"),
    (Attention, "_get_sdp_priority_order", "priority_order"),
    (ReducedPrecision, "_get_cublas_allow_fp16_accumulation", "cuda_fp16_accumulation"),
    (ReducedPrecision, "_set_cublas_allow_fp16_reduced_precision_reduction", "cuda_fp16_reduction"),
    (Mkldnn, "_get_mkldnn_deterministic", "deterministic"),
    (Mkldnn, "_set_mkldnn_deterministic", "deterministic"),
]


@pytest.mark.parametrize(("kind", "function", "flag"), [case for case in ABSENT if hasattr(torch._C, case[1])])
def test_a_flag_that_this_torch_lacks_is_neither_read_nor_set_nor_reported(
    kind: type[Any], function: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = kind()
    assert flag in complete.describe(complete.capture())
    monkeypatch.delattr(torch._C, function)
    source = kind()
    assert source.describe(source.capture()).keys() == complete.describe(complete.capture()).keys() - {flag}
    check_source(source)
    with reproducible(seed=None, deterministic=False):
        assert flag not in source.apply(Config(3, True)).values


def test_an_older_torch_has_one_bool_for_both_reductions(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = [True]
    monkeypatch.setattr(torch._C, "_get_cublas_allow_fp16_reduced_precision_reduction", lambda: allowed[0])
    monkeypatch.setattr(
        torch._C, "_set_cublas_allow_fp16_reduced_precision_reduction", lambda value: allowed.__setitem__(0, value)
    )
    source = ReducedPrecision()
    state = source.capture()
    allowed[0] = False
    source.restore(state)
    assert allowed == [True]


def test_flushing_of_denormals_is_read_off_the_processor() -> None:
    source = FlushDenormal()
    with reproducible(seed=None, deterministic=False):
        for flush in (True, False):
            torch.set_flush_denormal(flush)
            assert source.describe(source.capture()) == {"flush_denormal": flush}


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("x", "x"),
        ((1, torch.float32), [1, "torch.float32"]),
        ([1, [2]], [1, [2]]),
        ({1: torch.device("cpu")}, {"1": "cpu"}),
        (torch._C._LinalgBackend.Default, "_LinalgBackend.Default"),
    ],
)
def test_a_value_is_rendered_as_json(value: Any, rendered: Any) -> None:
    assert to_json(value) == rendered
    assert type(to_json(value)) is type(rendered)
