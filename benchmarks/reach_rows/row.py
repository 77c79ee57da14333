"""What a row of `benchmarks.reach` is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

Seed: TypeAlias = Callable[[], Any]
"""Gives None, as if nobody had passed a seed; or, where the remedy is tried, a seed of the run or of the sample."""


class Row(NamedTuple):
    """One thing that people call.

    Attributes:
        kind: Where it stands on the page.
        library: The name of its distribution, or Python.
        uses: The module that `make` is given.
        called: What is called, as short code.
        make: Given the module and a `Seed`, makes what is called, which draws and returns what came out.
        remedy: What to write where seeds do not reach it; `make` does it when its `Seed` gives one.
        loader: "sample" if what is called belongs into a dataset, "stream" if it makes one; else "".
    """

    kind: str
    library: str
    uses: str
    called: str
    make: Callable[[Any, Seed], Callable[[], Any]]
    remedy: str
    loader: str


ROWS: dict[str, Row] = {}
"""By the name of the function; the package fills it as it is imported."""


def row(kind: str, library: str, uses: str, called: str, *, remedy: str = "", loader: str = "") -> Callable[[Any], Any]:
    """Put the function below into the table."""

    def put(make: Any) -> Any:
        ROWS[make.__name__] = Row(kind, library, uses, called, make, remedy, loader)
        return make

    return put
