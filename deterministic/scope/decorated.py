"""The object that a decorated function is: to `inspect` the function itself, and pickled and copied as one."""

from __future__ import annotations

import copy
import importlib
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import wrapt

from ..errors import explain

if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[Any, Any]
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper[Any, Any]
else:  # generic since wrapt 2
    _FunctionWrapper, _BoundFunctionWrapper = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper


def _by_name(module: str, qualname: str) -> Any:
    return attrgetter(qualname)(importlib.import_module(module))


class _ByName:
    """Pickling and copying by name, as of any function: a copy is the same function, still decorated."""

    # Dynamo takes the wrapper for the function under it, and would lose the scope; with this it breaks the graph.
    _torchdynamo_disable = True

    def __reduce__(self) -> Any:
        wrapper = cast(Any, self)
        if "<locals>" in wrapper.__qualname__:
            raise TypeError(
                explain(
                    "a decorated function can be pickled only by its name, and this one is local to another function",
                    (f"found: {wrapper.__module__}.{wrapper.__qualname__}",),
                    "Move it to the top level of its module.",
                )
            )
        return _by_name, (wrapper.__module__, wrapper.__qualname__)

    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __prepare_scriptable__(self) -> Any:
        # torch.jit.script calls this; it would compile the function under the decorator, without its scope.
        raise TypeError(
            explain(
                "torch.jit.script would drop the scope of a function decorated with @reproducible",
                (f"found: {cast(Any, self).__qualname__}",),
                "Script the function under the decorator, and enter the scope around its calls.",
            )
        )


class BoundDecorated(_ByName, _BoundFunctionWrapper):
    """A decorated method, bound: pickled and copied with the object that it is bound to."""

    def __reduce__(self) -> Any:
        instance = getattr(self.__wrapped__, "__self__", None)
        if instance is None:
            return super().__reduce__()
        return getattr, (instance, self.__name__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        instance = getattr(self.__wrapped__, "__self__", None)
        return self if instance is None else getattr(copy.deepcopy(instance, memo), self.__name__)


class Decorated(_ByName, _FunctionWrapper):
    """A decorated function: to `inspect` and to type checkers, the function itself."""

    __bound_function_wrapper__ = BoundDecorated


class _NotInlined:
    """What dynamo traces instead of a generator function, of which it does not ask whether it is disabled."""

    @property
    def _torchdynamo_inline(self) -> Any:
        # In this package, which is never traced (`compilation`): the call breaks the graph and is made.
        def call(*args: Any, **kwargs: Any) -> Any:
            return cast(Any, self)(*args, **kwargs)

        return call


class BoundDecoratedGenerator(_NotInlined, BoundDecorated):
    """A decorated generator method, bound."""


class DecoratedGenerator(_NotInlined, Decorated):
    """A decorated generator function."""

    __bound_function_wrapper__ = BoundDecoratedGenerator
