#!/usr/bin/env bash
# voyager 2.2.3, usearch 2.26.6, faiss 1.15.1, numpy 2.4.6 (Python 3.11): an index of the same vectors with the same seed
# finds other neighbours each time it is built.
#
# voyager's random_seed draws how high each vector stands in the graph. Which edges there are depends on which vectors are
# in it already, and add_items adds on all processors by default, in the order in which the threads come. So near
# duplicates to drop, hard negatives to train on and answers to retrieve differ from build to build, and the seed speaks
# against it. usearch is alike. num_threads=1 (threads=1) repeats; the index of faiss does with threads as well.
#
# What it prints: how many different answers eight builds gave, each asked by one thread.
#   4 threads: voyager more, usearch more, faiss 1
#   1 threads: voyager 1, usearch 1, faiss 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 voyager==2.2.3 usearch==2.26.6 \
    faiss-cpu==1.15.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import faiss
import numpy as np
import voyager
from usearch.index import Index

rng = np.random.default_rng(0)
vectors, asked = (rng.normal(size=(count, 16)).astype(np.float32) for count in (2000, 200))


def by_voyager(threads):
    index = voyager.Index(voyager.Space.Euclidean, num_dimensions=16, M=8, ef_construction=16, random_seed=1)
    index.add_items(vectors, num_threads=threads)
    return index.query(asked, 5, num_threads=1, query_ef=8)[0]


def by_usearch(threads):
    index = Index(ndim=16, metric="l2sq", connectivity=8, expansion_add=16, expansion_search=8)
    index.add(np.arange(len(vectors)), vectors, threads=threads)
    return index.search(asked, 5, threads=1).keys


def by_faiss(threads):
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(16, 8)
    index.hnsw.efConstruction, index.hnsw.efSearch = 16, 8
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    return index.search(asked, 5)[1]


def results(build, threads):
    found = len({np.asarray(build(threads)).tobytes() for _ in range(8)})
    return found if found == 1 else "more"


for threads in (4, 1):
    kinds = {"voyager": by_voyager, "usearch": by_usearch, "faiss": by_faiss}
    print(f"{threads} threads: " + ", ".join(f"{name} {results(build, threads)}" for name, build in kinds.items()))
PROGRAM
cmp - said <<'EXPECTED'
4 threads: voyager more, usearch more, faiss 1
1 threads: voyager 1, usearch 1, faiss 1
EXPECTED
