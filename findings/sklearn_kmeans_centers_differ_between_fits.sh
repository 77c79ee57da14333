#!/usr/bin/env bash
# scikit-learn 1.9.1, numpy 2.4.6 (Python 3.11): from three threads on, KMeans has other centers in each fit.
#
# random_state fixes where the centers begin. In each iteration every thread then adds its part to them behind a lock
# (omp_set_lock in sklearn/cluster/_k_means_lloyd.pyx and _k_means_elkan.pyx), in the order in which the threads are
# done. Two parts have one sum in either order, so a machine of two cores repeats, and the same program on one of more
# does not: the number of threads is that of its cores. MiniBatchKMeans and OMP_NUM_THREADS=2 repeat.
#
# What it prints: how many different centers twenty fits gave.
#   8 threads: lloyd more, elkan more, MiniBatchKMeans 1
#   2 threads: lloyd 1, elkan 1, MiniBatchKMeans 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1

cd "$work"
cat >program.py <<'PROGRAM'
import os

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

x = np.random.default_rng(0).normal(size=(20000, 8))


def results(kind, **how):
    fits = (kind(8, n_init=1, max_iter=20, random_state=0, **how).fit(x) for _ in range(20))
    found = len({fit.cluster_centers_.tobytes() for fit in fits})
    return found if found == 1 else "more"


lloyd, elkan = (results(KMeans, algorithm=name) for name in ("lloyd", "elkan"))
threads = os.environ["OMP_NUM_THREADS"]
print(f"{threads} threads: lloyd {lloyd}, elkan {elkan}, MiniBatchKMeans {results(MiniBatchKMeans)}")
PROGRAM
for threads in 8 2; do
    OMP_NUM_THREADS=$threads "$work/venv/bin/python" program.py
done | tee said
cmp - said <<'EXPECTED'
8 threads: lloyd more, elkan more, MiniBatchKMeans 1
2 threads: lloyd 1, elkan 1, MiniBatchKMeans 1
EXPECTED
