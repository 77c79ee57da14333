#!/usr/bin/env bash
# faiss-cpu 1.15.1, numpy 2.4.6 (Python 3.11): an index that was written and read again finds other neighbours.
#
# write_index() keeps nprobe, efSearch and the k_factor of a refined index, so a tuned index seems to come back as it
# was. It does not keep max_codes of an IVF index, polysemous_ht of an IVFPQ (that of a plain PQ it keeps), and for HNSW
# search_bounded_queue and check_relative_distance: after read_index() these have their defaults, and the same query can
# give other neighbours, though nothing is raised. The threshold ht is what faiss.ParameterSpace tunes; that it is lost
# is an open issue (facebookresearch/faiss#2120). Nor does it keep the clustering parameters of an index that is not
# trained yet: cp.seed, cp.niter and cp.spherical are the defaults once read, and a training that was to be seeded with
# 5 is the one of seed 1234. clone_index() keeps each of those below. Set them again after read_index().
#
# What it prints: for each setting, whether the written and the cloned index hold it, and whether they find the
# neighbours that the index itself finds; for a seed, after the training of each.
#   IVF32,Flat nprobe 8: read kept, same neighbours True; cloned kept, same neighbours True
#   IVF32,Flat max_codes 300: read lost, same neighbours False; cloned kept, same neighbours True
#   PQ2 polysemous_ht 6: read kept, same neighbours True; cloned kept, same neighbours True
#   IVF32,PQ2 polysemous_ht 6: read lost, same neighbours False; cloned kept, same neighbours True
#   HNSW8 efSearch 6: read kept, same neighbours True; cloned kept, same neighbours True
#   HNSW8 check_relative_distance False: read lost, same neighbours False; cloned kept, same neighbours True
#   IVF32,Flat cp.seed 5: read lost, same neighbours False; cloned kept, same neighbours True
#   IVF32,Flat cp.spherical True: read lost, same neighbours False; cloned kept, same neighbours True
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 faiss-cpu==1.15.1

cd "$work"
cat >program.py <<'PROGRAM'
import faiss
import numpy as np

faiss.omp_set_num_threads(1)
rows = np.random.default_rng(0).normal(size=(10000, 16)).astype(np.float32)
asked = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)


def holder(index, path):
    one = faiss.downcast_index(index)
    *inner, name = path.split(".")
    for part in inner:
        one = getattr(one, part)
    return one, name


def read(index):
    faiss.write_index(index, "index")
    return faiss.read_index("index")


def show(factory, path, value):
    index = faiss.index_factory(16, factory)
    trained = not path.startswith("cp.")
    if factory == "PQ2":
        index.do_polysemous_training = True
        index.search_type = faiss.IndexPQ.ST_polysemous
    if trained:
        index.train(rows)
        index.add(rows)
    if "IVF" in factory and path in ("max_codes", "polysemous_ht"):
        faiss.downcast_index(index).nprobe = 32
    one, name = holder(index, path)
    setattr(one, name, value)
    indexes = [index, read(index), faiss.clone_index(index)]
    found = []
    for each in indexes:
        if not trained:
            each.train(rows)
            each.add(rows)
        found.append(each.search(asked, 10)[1])
    said = []
    for how, each, neighbours in zip(("read", "cloned"), indexes[1:], found[1:], strict=True):
        one, name = holder(each, path)
        kept = "kept" if getattr(one, name) == value else "lost"
        said.append(f"{how} {kept}, same neighbours {np.array_equal(neighbours, found[0])}")
    print(f"{factory} {path.removeprefix('hnsw.')} {value}: {'; '.join(said)}")


for case in (
    ("IVF32,Flat", "nprobe", 8),
    ("IVF32,Flat", "max_codes", 300),
    ("PQ2", "polysemous_ht", 6),
    ("IVF32,PQ2", "polysemous_ht", 6),
    ("HNSW8", "hnsw.efSearch", 6),
    ("HNSW8", "hnsw.check_relative_distance", False),
    ("IVF32,Flat", "cp.seed", 5),
    ("IVF32,Flat", "cp.spherical", True),
):
    show(*case)
PROGRAM
"$work/venv/bin/python" program.py 2>/dev/null | tee said
cmp - said <<'EXPECTED'
IVF32,Flat nprobe 8: read kept, same neighbours True; cloned kept, same neighbours True
IVF32,Flat max_codes 300: read lost, same neighbours False; cloned kept, same neighbours True
PQ2 polysemous_ht 6: read kept, same neighbours True; cloned kept, same neighbours True
IVF32,PQ2 polysemous_ht 6: read lost, same neighbours False; cloned kept, same neighbours True
HNSW8 efSearch 6: read kept, same neighbours True; cloned kept, same neighbours True
HNSW8 check_relative_distance False: read lost, same neighbours False; cloned kept, same neighbours True
IVF32,Flat cp.seed 5: read lost, same neighbours False; cloned kept, same neighbours True
IVF32,Flat cp.spherical True: read lost, same neighbours False; cloned kept, same neighbours True
EXPECTED
