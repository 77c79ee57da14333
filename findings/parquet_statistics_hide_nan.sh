#!/usr/bin/env bash
# pyarrow 26.0.1, duckdb 2.0.1, polars 2.1.0 (Python 3.11): asked for the NaN of a Parquet file, DuckDB says there is none.
#
# A Parquet file holds the smallest and the largest number of each group of rows, and NaN counts for neither. DuckDB takes
# these two for all that there is: isnan(x) is false for each row of a file that pyarrow or polars wrote, in a filter, in a
# column and in a group by, and max(x) is a number, while sum(x) is NaN. pyarrow skips a group of rows by the two when a
# filter is read together with the file, and so loses rows where NaN is not less than 100, is not 5 beside nothing but
# fives, or is simply NaN there. The same table in memory gives these rows, and the same rows in a file with other groups
# can give others: a data set that is written anew with another row_group_size is another one, and a check for NaN before
# a training passes. polars gives the same from all three. Filter after reading; in DuckDB, CREATE TABLE first.
#
# What it prints: how many of the eight rows 5, 5, NaN, 5, 1, 2, 3, NaN are found in memory, in a file with one group of
# rows, and in one with two groups of four.
#   pyarrow, NaN: 2 2 1; not less than 100: 2 0 0; not 5: 5 5 4
#   duckdb, NaN: 2 0 0; not less than 100: 2 0 0; not 5: 5 5 4
#   polars, NaN: 2 2 2; not less than 100: 2 2 2; not 5: 5 5 5
#   duckdb, of the whole file: isnan(x) [False], max(x) 5.0, sum(x) nan; after CREATE TABLE: isnan(x) [False, True], max(x) nan
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

nan = float("nan")
rows = pa.table({"x": [5.0, 5.0, nan, 5.0, 1.0, 2.0, 3.0, nan]})
pq.write_table(rows, "one.parquet")
pq.write_table(rows, "two.parquet", row_group_size=4)


def arrow(condition):
    files = (ds.dataset(name).to_table(filter=condition) for name in ("one.parquet", "two.parquet"))
    return [rows.filter(condition).num_rows, *(found.num_rows for found in files)]


def duck(condition):
    places = ("rows", "'one.parquet'", "'two.parquet'")
    return [duckdb.sql(f"SELECT x FROM {place} WHERE {condition}").arrow().read_all().num_rows for place in places]


def bears(condition):
    frames = (pl.from_arrow(rows).lazy(), pl.scan_parquet("one.parquet"), pl.scan_parquet("two.parquet"))
    return [frame.filter(condition).collect().height for frame in frames]


def show(name, find, conditions):
    asked = ("NaN", "not less than 100", "not 5")
    found = (" ".join(map(str, find(condition))) for condition in conditions)
    print(f"{name}, " + "; ".join(f"{what}: {count}" for what, count in zip(asked, found, strict=True)))


show("pyarrow", arrow, (pc.is_nan(pc.field("x")), ~(pc.field("x") < 100), pc.field("x") != 5))
show("duckdb", duck, ("isnan(x)", "NOT x < 100", "x <> 5"))
show("polars", bears, (pl.col("x").is_nan(), ~(pl.col("x") < 100), pl.col("x") != 5))


def tell(place):
    seen = duckdb.sql(f"SELECT DISTINCT isnan(x) AS n FROM {place} ORDER BY n").fetchall()
    largest = duckdb.sql(f"SELECT max(x) FROM {place}").fetchall()[0][0]
    return f"isnan(x) {[value for (value,) in seen]}, max(x) {largest}"


file = "'one.parquet'"
total = duckdb.sql(f"SELECT sum(x) FROM {file}").fetchall()[0][0]
duckdb.sql("CREATE TABLE made AS FROM 'one.parquet'")
print(f"duckdb, of the whole file: {tell(file)}, sum(x) {total}; after CREATE TABLE: {tell('made')}")
PROGRAM
cmp - said <<'EXPECTED'
pyarrow, NaN: 2 2 1; not less than 100: 2 0 0; not 5: 5 5 4
duckdb, NaN: 2 0 0; not less than 100: 2 0 0; not 5: 5 5 4
polars, NaN: 2 2 2; not less than 100: 2 2 2; not 5: 5 5 5
duckdb, of the whole file: isnan(x) [False], max(x) 5.0, sum(x) nan; after CREATE TABLE: isnan(x) [False, True], max(x) nan
EXPECTED
