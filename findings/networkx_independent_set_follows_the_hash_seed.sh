#!/usr/bin/env bash
# networkx 3.6.1 (Python 3.11): maximal_independent_set(graph, seed=1) is another set in each process, if nodes are text.
#
# The seed decides which place of a list is drawn, and the list is made of a set of nodes, whose order follows
# PYTHONHASHSEED where they are strings. So a seeded call repeats within a process and not in the next one, and a test of
# it on a graph with numbers for nodes does not show it. Other functions with seed= on the same graph, such as
# louvain_communities and asyn_lpa_communities, gave one result here.
#
# What it prints, of processes with the hash seeds 0 to 5, for nodes that are text and then for numbers: how many
# different results the same call with seed=1 gave.
#   text: maximal_independent_set more, louvain_communities 1, asyn_lpa_communities 1
#   numbers: maximal_independent_set 1, louvain_communities 1, asyn_lpa_communities 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check networkx==3.6.1

cd "$work"
cat > draw.py <<'PROGRAM'
import sys

import networkx as nx
from networkx.algorithms import community

graph = nx.Graph(nx.karate_club_graph().edges)
if sys.argv[1] == "text":
    graph = nx.relabel_nodes(graph, str)
for draw in (nx.maximal_independent_set, community.louvain_communities, community.asyn_lpa_communities):
    first, again = (sorted(one if draw is nx.maximal_independent_set else map(sorted, one)) for one in
                    (draw(graph, seed=1), draw(graph, seed=1)))
    assert first == again
    print(draw.__name__, first)
PROGRAM
for nodes in text numbers; do
    for seed in 0 1 2 3 4 5; do
        PYTHONHASHSEED=$seed "$work/venv/bin/python" draw.py $nodes
    done > drawn
    said=""
    for name in maximal_independent_set louvain_communities asyn_lpa_communities; do
        found=$(grep "^$name " drawn | sort -u | wc -l)
        [ "$found" = 1 ] || found=more
        said="$said, $name $found"
    done
    echo "$nodes: ${said#, }"
done | tee said
printf '%s\n' "text: maximal_independent_set more, louvain_communities 1, asyn_lpa_communities 1" \
    "numbers: maximal_independent_set 1, louvain_communities 1, asyn_lpa_communities 1" | cmp - said
