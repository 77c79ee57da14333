"""One kernel for all tests that need a real one: each start costs seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from nbclient import NotebookClient

from .kernels import Kernel, new_shell, nodes


@pytest.fixture
def shell() -> Iterator[Any]:
    """A shell of this process, with the extension loaded."""
    shell = new_shell()
    shell.extension_manager.load_extension("deterministic")
    yield shell
    shell.extension_manager.unload_extension("deterministic")


@pytest.fixture(scope="package")
def warm_kernel() -> Iterator[Kernel]:
    client = NotebookClient(nodes.new_notebook(), timeout=120, kernel_name="python3")
    with client.setup_kernel():
        kernel = Kernel(client)
        assert not kernel.run("%load_ext deterministic\nimport asyncio, random, torch").errors
        yield kernel


@pytest.fixture
def kernel(warm_kernel: Kernel) -> Iterator[Kernel]:
    """The kernel; a test that leaves a scope open in it, or a setting changed, fails."""
    yield warm_kernel
    warm_kernel.run("%reproducible off")
    left = "from deterministic.scope import stack\nlen(stack._entries), torch.are_deterministic_algorithms_enabled()"
    assert warm_kernel.value(left) == (0, False)
