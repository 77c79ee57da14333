#!/usr/bin/env bash
# rustworkx 0.18.1 (Python 3.11): betweenness_centrality of a graph of 50 nodes or more has other last bits each time.
#
# From parallel_threshold nodes on (50 by default), threads add their parts to one sum as they come. Nothing in the call
# is random, and a test with a smaller graph repeats. Nodes that lie alike get numbers that differ a little, so which
# five nodes come first can change, too (seen on a grid of 10 by 10). closeness_centrality repeats, and so does all of
# it with a threshold above the number of nodes, or with RAYON_NUM_THREADS=1.
#
# What it prints: how many different results twenty equal calls gave, of a random graph of 300 nodes, with four threads.
#   by default: betweenness_centrality more, edge_betweenness_centrality more, closeness_centrality 1
#   parallel_threshold=301: betweenness_centrality 1, edge_betweenness_centrality 1, closeness_centrality 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rustworkx==0.18.1

cd "$work"
RAYON_NUM_THREADS=4 "$work/venv/bin/python" - <<'PROGRAM' | tee said
import rustworkx

graph = rustworkx.undirected_gnp_random_graph(300, 0.05, seed=1)
measures = (
    rustworkx.betweenness_centrality,
    rustworkx.edge_betweenness_centrality,
    rustworkx.closeness_centrality,
)


def results(measure, **how):
    found = len({tuple(sorted(measure(graph, **how).items())) for _ in range(20)})
    return f"{measure.__name__} {found if found == 1 else 'more'}"


print("by default: " + ", ".join(results(measure) for measure in measures))
print("parallel_threshold=301: " + ", ".join(results(measure, parallel_threshold=301) for measure in measures))
PROGRAM
cmp - said <<'EXPECTED'
by default: betweenness_centrality more, edge_betweenness_centrality more, closeness_centrality 1
parallel_threshold=301: betweenness_centrality 1, edge_betweenness_centrality 1, closeness_centrality 1
EXPECTED
