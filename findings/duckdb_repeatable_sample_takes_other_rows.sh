#!/usr/bin/env bash
# duckdb 2.0.1 (Python 3.11): TABLESAMPLE system(10%) REPEATABLE (1) takes other rows in some calls, with four threads.
#
# REPEATABLE is there so that a sample can be drawn again, and a sample by blocks is one only with SET threads = 1.
# setseed() before ORDER BY random(), a usual way to draw a training set, has the same fault. Nothing warns. Samples of
# the methods bernoulli and reservoir repeat with any number of threads, and so does the order of a hash of a key.
#
# What it prints: how many different sets of rows twenty equal queries of one table gave.
#   4 threads: system more, setseed more, bernoulli 1, reservoir 1, hash 1
#   1 threads: system 1, setseed 1, bernoulli 1, reservoir 1, hash 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import duckdb

queries = {
    "system": "SELECT i FROM t TABLESAMPLE system(10%) REPEATABLE (1)",
    "setseed": "SELECT i FROM t ORDER BY random() LIMIT 1000",
    "bernoulli": "SELECT i FROM t TABLESAMPLE bernoulli(1%) REPEATABLE (1)",
    "reservoir": "SELECT i FROM t TABLESAMPLE reservoir(1000 ROWS) REPEATABLE (1)",
    "hash": "SELECT i FROM t ORDER BY hash(i) LIMIT 1000",
}


def results(connection, query):
    found = set()
    for _ in range(20):
        connection.execute("SELECT setseed(0.5)")
        found.add(frozenset(row for row, in connection.execute(query).fetchall()))
    return 1 if len(found) == 1 else "more"


for threads in (4, 1):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute("CREATE TABLE t AS SELECT range AS i FROM range(2000000)")
    print(f"{threads} threads: " + ", ".join(f"{name} {results(connection, query)}" for name, query in queries.items()))
PROGRAM
cmp - said <<'EXPECTED'
4 threads: system more, setseed more, bernoulli 1, reservoir 1, hash 1
1 threads: system 1, setseed 1, bernoulli 1, reservoir 1, hash 1
EXPECTED
