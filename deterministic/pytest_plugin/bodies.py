"""Bodies that begin later than the call of the test: methods of `unittest` after `setUp`, examples of Hypothesis."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def seed_method(item: pytest.Item, seed: Callable[[], object]) -> bool:
    """Have a `unittest` method seeded when it begins, since `setUp` runs in the same call.

    Args:
        item: The test that is about to be called.
        seed: Seeds.

    Returns:
        Whether it is such a method.
    """
    instance, unittest = getattr(item, "instance", None), sys.modules.get("unittest")
    if unittest is None or not isinstance(instance, unittest.TestCase):
        return False
    test: Any = item
    method = test.obj
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def seeded_async(*args: Any, **kwargs: Any) -> Any:
            seed()
            return await method(*args, **kwargs)

        setattr(instance, item.name, seeded_async)
    else:

        @functools.wraps(method)
        def seeded(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            seed()
            return method(*args, **kwargs)

        test.obj = seeded
    return True


@contextmanager
def seeded_examples(item: pytest.Item | None, seed: Callable[[], object]) -> Iterator[None]:
    """Let every example of a Hypothesis test begin from the seed: Hypothesis itself seeds without torch.

    Args:
        item: The test that is about to be called; nothing happens if Hypothesis has no part in it.
        seed: Seeds.
    """
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    test = getattr(handle, "inner_test", None)
    if handle is None or test is None:
        yield
        return

    @functools.wraps(test)
    def seeded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        seed()
        return test(*args, **kwargs)

    handle.inner_test = seeded
    try:
        yield
    finally:
        handle.inner_test = test
