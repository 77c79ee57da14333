#!/usr/bin/env bash
# faiss-cpu 1.15.1, hnswlib 0.8.0 (from source), numpy 2.4.6 (Python 3.11): a loaded HNSW graph draws its levels anew.
#
# An HNSW graph draws the level of each vector; the upper levels are its long ways. Neither package keeps the generator
# in the file: after faiss.read_index() and hnswlib's load_index() or pickle it begins anew. So the vectors that are
# added then get the levels which the first ones of a new index get, and an index that was saved on the way finds other
# neighbours than one that was not, with one thread and the same vectors in the same order. The far end: an index that
# is loaded, given one vector and saved each time gives each the same, first level, and no hierarchy is left.
# faiss.clone_index() keeps the generator. Build anew from all vectors where it must repeat.
#
# What it prints: of 2000 vectors and 2000 more, whether the neighbours are those of an index that was never saved; what
# levels the second half has; and the levels of 300 vectors, added at once and each after a load.
#   faiss: again same, clone_index() same, file differ
#   hnswlib: again same, pickle differ, file differ
#   faiss, levels of the second half are those of the first: never saved False, file True
#   faiss, different levels of 300 vectors: at once 4, each after a load 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 faiss-cpu==1.15.1 hnswlib==0.8.0

cd "$work"
cat >program.py <<'PROGRAM'
import pickle

import faiss
import hnswlib
import numpy as np

faiss.omp_set_num_threads(1)
rows = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
asked = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)


def from_file(index):
    faiss.write_index(index, "index")
    return faiss.read_index("index")


def in_faiss(way):
    index = faiss.IndexHNSWFlat(16, 5)
    index.add(rows[:2000])
    index = way(index)
    index.add(rows[2000:])
    return index.search(asked, 10)[1], faiss.vector_to_array(index.hnsw.levels)


def loaded(index):
    index.save_index("index")
    new = hnswlib.Index("l2", 16)
    new.load_index("index", max_elements=4000)
    return new


def in_hnswlib(way, first_seed=7):
    index = hnswlib.Index("l2", 16)
    index.init_index(4000, ef_construction=40, M=5, random_seed=first_seed)
    index.set_num_threads(1)
    index.add_items(rows[:2000])
    index = way(index)
    index.set_num_threads(1)
    index.add_items(rows[2000:])
    index.set_ef(16)
    return index.knn_query(asked, 10, num_threads=1)[0]


def told(found, due):
    return "same" if np.array_equal(found, due) else "differ"


def same(index):
    return index


due, levels = in_faiss(same)
ways = {"again": same, "clone_index()": faiss.clone_index, "file": from_file}
print("faiss: " + ", ".join(f"{name} {told(in_faiss(way)[0], due)}" for name, way in ways.items()))

due = in_hnswlib(same)
ways = {"again": same, "pickle": lambda index: pickle.loads(pickle.dumps(index)), "file": loaded}
print("hnswlib: " + ", ".join(f"{name} {told(in_hnswlib(way), due)}" for name, way in ways.items()))

kept, read = levels, in_faiss(from_file)[1]
pairs = {"never saved": kept, "file": read}
said = ", ".join(f"{name} {np.array_equal(one[:2000], one[2000:])}" for name, one in pairs.items())
print(f"faiss, levels of the second half are those of the first: {said}")

at_once, each = faiss.IndexHNSWFlat(16, 5), faiss.IndexHNSWFlat(16, 5)
at_once.add(rows[:300])
for row in rows[:300]:
    each = from_file(each)
    each.add(row[None])
counts = [len(set(faiss.vector_to_array(one.hnsw.levels).tolist())) for one in (at_once, each)]
print(f"faiss, different levels of 300 vectors: at once {counts[0]}, each after a load {counts[1]}")
PROGRAM
"$work/venv/bin/python" program.py 2>/dev/null | tee said
cmp - said <<'EXPECTED'
faiss: again same, clone_index() same, file differ
hnswlib: again same, pickle differ, file differ
faiss, levels of the second half are those of the first: never saved False, file True
faiss, different levels of 300 vectors: at once 4, each after a load 1
EXPECTED
