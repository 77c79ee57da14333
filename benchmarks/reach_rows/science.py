"""Scientific computing: scipy, statsmodels, dask, numba."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .row import Seed, row

KIND = "Scientific computing"
DENSE = np.random.RandomState(0).rand(200, 200)


@row(KIND, "numpy", "numpy.random", "rand(), permutation(9)", loader="sample")
def numpy_global(lib: Any, seed: Seed) -> Any:
    return lambda: [lib.rand(), lib.permutation(9)]


@row(KIND, "numpy", "numpy.random", "default_rng().random()", remedy="`default_rng(seed)`", loader="sample")
def numpy_default_rng(lib: Any, seed: Seed) -> Any:
    return lambda: lib.default_rng(seed()).random()


@row(KIND, "scipy", "scipy.stats", "norm.rvs(size=4)", loader="sample")
def scipy_rvs(lib: Any, seed: Seed) -> Any:
    return lambda: lib.norm.rvs(size=4)


@row(KIND, "scipy", "scipy.stats", "Normal().sample(4)", remedy="`.sample(4, rng=seed)`", loader="sample")
def scipy_new_normal(lib: Any, seed: Seed) -> Any:
    normal = lib.Normal()
    return lambda: normal.sample(4, rng=seed())


@row(KIND, "scipy", "scipy.stats", "bootstrap((x,), numpy.mean)")
def scipy_bootstrap(lib: Any, seed: Seed) -> Any:
    data = (np.arange(20.0),)
    return lambda: lib.bootstrap(data, np.mean, n_resamples=50).standard_error


@row(KIND, "scipy", "scipy.stats.qmc", "Sobol(2).random(8)", remedy="`Sobol(2, rng=seed)`", loader="sample")
def scipy_qmc(lib: Any, seed: Seed) -> Any:
    return lambda: lib.Sobol(2, rng=seed()).random(8)


@row(KIND, "scipy", "scipy.sparse.linalg", "eigsh(matrix, 3), without v0", remedy="`rng=seed`")
def scipy_eigsh(lib: Any, seed: Seed) -> Any:
    matrix = importlib.import_module("scipy.sparse").csr_array(DENSE)
    symmetric = (matrix + matrix.T).tocsr()
    return lambda: lib.eigsh(symmetric, 3, rng=seed())[1]


@row(KIND, "scipy", "scipy.sparse.linalg", "svds(matrix, 3), without v0", remedy="`rng=seed`")
def scipy_svds(lib: Any, seed: Seed) -> Any:
    matrix = importlib.import_module("scipy.sparse").csr_array(DENSE[:, :100])
    return lambda: list(lib.svds(matrix, 3, rng=seed()))


@row(KIND, "scipy", "scipy.optimize", "differential_evolution, dual_annealing, basinhopping")
def scipy_optimize(lib: Any, seed: Seed) -> Any:
    bounds = [(-2.0, 2.0)] * 2

    def call() -> Any:
        return [
            lib.differential_evolution(lib.rosen, bounds, maxiter=3).x,
            lib.dual_annealing(lib.rosen, bounds, maxiter=5).x,
            lib.basinhopping(lib.rosen, [1.5, 0.5], niter=3).x,
        ]

    return call


@row(KIND, "scipy", "scipy.sparse", "random(20, 20)")
def scipy_sparse_random(lib: Any, seed: Seed) -> Any:
    return lambda: lib.random(20, 20, 0.1).toarray()


@row(KIND, "scipy", "scipy.sparse", "random_array((20, 20))", remedy="`rng=seed`")
def scipy_sparse_random_array(lib: Any, seed: Seed) -> Any:
    return lambda: lib.random_array((20, 20), density=0.1, rng=seed()).toarray()


@row(KIND, "scipy", "scipy.cluster.vq", 'kmeans2(points, 4, minit="points")')
def scipy_kmeans2(lib: Any, seed: Seed) -> Any:
    return lambda: lib.kmeans2(DENSE[:, :2], 4, iter=1, minit="points")[0]


@row(KIND, "scipy", "scipy.spatial.transform", "Rotation.random(3)")
def scipy_rotation(lib: Any, seed: Seed) -> Any:
    return lambda: lib.Rotation.random(3).as_quat()


@row(KIND, "statsmodels", "statsmodels.tsa.arima_process", "arma_generate_sample([1, -0.5], [1], 9)")
def statsmodels_arma(lib: Any, seed: Seed) -> Any:
    return lambda: lib.arma_generate_sample([1, -0.5], [1], 9)


@row(
    KIND,
    "dask",
    "dask.array",
    "random.normal(size=9).compute()",
    remedy="`dask.array.random.default_rng(seed).normal(size=9)`",
)
def dask_random(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        own = lib.random if chosen is None else lib.random.default_rng(chosen)
        return own.normal(size=9, chunks=3).compute(scheduler="sync")

    return call


@row(
    KIND,
    "numba",
    "numba",
    "numpy.random.rand() in an @njit function",
    remedy="`numpy.random.seed(seed)` in an @njit function, which seeds that thread's state",
    loader="sample",
)
def numba_njit(lib: Any, seed: Seed) -> Any:
    @lib.njit  # type: ignore[untyped-decorator]
    def draw() -> Any:
        return np.random.rand()

    @lib.njit  # type: ignore[untyped-decorator]
    def seed_there(value: int) -> None:
        np.random.seed(value)

    def call() -> Any:
        if (chosen := seed()) is not None:
            seed_there(chosen)
        return draw()

    return call
