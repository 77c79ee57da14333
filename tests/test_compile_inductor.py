"""torch.compile's code generator inside scopes: its results, and its configuration wherever it is imported."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import reproducible

from .compiling import needs_a_compiler, run_inductor
from .processes import run_python
from .streams import together
from .versions import needs_deterministic_inductor

pytestmark = needs_deterministic_inductor

TARGETS = ("deterministic", "max_autotune", "max_autotune_gemm", "coordinate_descent_tuning")


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """Import what torch.compile imports, before the canary looks."""
    import torch._dynamo
    import torch._inductor.config  # noqa: F401


INDUCTOR = """
import torch
import torch._inductor.config
from deterministic import reproducible

torch._inductor.config.cpp_cache_precompile_headers = False  # one function does not repay it

@torch.compile
def step(x):
    return (x.sin() * 2 + torch.rand(64)).cumsum(0)

@reproducible(seed=1)
def run():
    return [step(torch.rand(64)) for _ in range(3)]

first, again, other = run(), run(), reproducible(seed=2)(run.__wrapped__)()
assert all(torch.equal(one, two) for one, two in zip(first, again))
assert not torch.equal(first[0], other[0])
assert not torch.are_deterministic_algorithms_enabled()
assert not torch._inductor.config.deterministic
print("same bits")
"""


@pytest.mark.slow
@needs_a_compiler
def test_code_generated_by_inductor_draws_the_same_in_two_calls(inductor_cache: Path) -> None:
    assert run_inductor(INDUCTOR, inductor_cache) == "same bits"


def test_inductor_s_configuration_is_the_scope_s_where_it_is_imported_already() -> None:
    config: Any = torch._inductor.config
    before = [getattr(config, name) for name in TARGETS]
    assert not config.deterministic
    config.max_autotune = True
    try:
        with reproducible(seed=1):
            assert [getattr(config, name) for name in TARGETS] == [True, False, False, False]
            with reproducible(seed=2, deterministic=False):
                assert config.deterministic
        assert (config.deterministic, config.max_autotune) == (False, True)
        with reproducible(seed=1, deterministic="cudnn"):
            assert (config.deterministic, config.max_autotune) == (False, True)
    finally:
        config.max_autotune = False
    assert [getattr(config, name) for name in TARGETS] == before


def test_inductor_s_configuration_follows_a_decorated_coroutine_through_its_task() -> None:
    config: Any = torch._inductor.config

    @reproducible(seed=1)
    async def body() -> list[bool]:
        seen = [config.deterministic]
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(config.deterministic)
        return seen

    async def watch() -> list[bool]:
        seen = []
        for _ in range(4):
            seen.append(config.deterministic)
            await asyncio.sleep(0)
        return seen

    async def main() -> list[list[bool]]:
        return await together(body(), watch(), body())

    assert asyncio.run(main()) == [[True] * 4, [False] * 4, [True] * 4]
    assert not config.deterministic


IMPORTED_INSIDE = """
import json, sys
import torch
from deterministic import reproducible

def values():
    from torch._inductor import config
    return config.deterministic, config.max_autotune

assert "torch._inductor.config" not in sys.modules
with reproducible(seed=1):
    with reproducible(seed=2):
        assert "torch._inductor.config" not in sys.modules
        inside = values()
    between = values()
print(json.dumps([inside, between, values()]))
"""


def test_inductor_imported_inside_a_scope_takes_its_level_and_gives_it_back() -> None:
    inside, between, after = json.loads(run_python(IMPORTED_INSIDE, TORCHINDUCTOR_MAX_AUTOTUNE="1"))
    assert (inside, between, after) == ([True, False], [True, False], [False, True])


def test_inductor_s_configuration_follows_a_decorated_generator_through_other_contexts() -> None:
    # In torch 2.13 each option is a context variable: what one context sets the others do not see.
    config: Any = torch._inductor.config

    @reproducible(seed=1)
    def steps() -> Generator[bool, None, None]:
        while True:
            yield config.deterministic

    it = steps()
    elsewhere = contextvars.copy_context()
    assert [next(it), elsewhere.run(next, it), next(it), elsewhere.run(next, it)] == [True] * 4
    assert not config.deterministic
    assert not elsewhere.run(lambda: config.deterministic)
    it.close()
