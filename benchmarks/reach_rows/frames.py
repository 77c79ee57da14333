"""Data frames and databases."""

from __future__ import annotations

from typing import Any

from .row import Seed, row

KIND = "Data frames"


@row(KIND, "pandas", "pandas", "DataFrame(...).sample(5)", loader="sample")
def pandas_sample(lib: Any, seed: Seed) -> Any:
    frame = lib.DataFrame({"x": range(40)})
    return lambda: frame.sample(5)["x"].tolist()


@row(KIND, "polars", "polars", "DataFrame(...).sample(5)", remedy="`.sample(5, seed=seed)`", loader="sample")
def polars_sample(lib: Any, seed: Seed) -> Any:
    frame = lib.DataFrame({"x": list(range(40))})
    return lambda: frame.sample(5, seed=seed())["x"].to_list()


@row(
    KIND, "polars", "polars", "Series(...).shuffle()", remedy="`.shuffle(seed=seed)`, or `polars.set_random_seed(seed)`"
)
def polars_shuffle(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        if (chosen := seed()) is not None:
            lib.set_random_seed(chosen)
        return lib.Series(range(40)).shuffle().to_list()

    return call


@row(
    KIND,
    "duckdb",
    "duckdb",
    "SELECT random()",
    remedy="`SELECT setseed(x)` on the connection, with x between 0 and 1; `SET threads = 1` before it where the table "
    "is large",
    loader="sample",
)
def duckdb_random(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        connection = lib.connect()
        if (chosen := seed()) is not None:
            connection.execute(f"SELECT setseed({chosen / 2**31})")
        return [row[0] for row in connection.execute("SELECT random() FROM range(3)").fetchall()]

    return call


@row(
    KIND,
    "duckdb",
    "duckdb",
    "SELECT ... USING SAMPLE 5 ROWS",
    remedy="`USING SAMPLE reservoir(5 ROWS) REPEATABLE (seed)`",
)
def duckdb_sample(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        how = "5 ROWS" if chosen is None else f"reservoir(5 ROWS) REPEATABLE ({chosen})"
        return [row[0] for row in lib.connect().execute(f"SELECT range FROM range(40) USING SAMPLE {how}").fetchall()]

    return call
