"""Search for hyperparameters, and optimisation without gradients."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .row import Seed, row

KIND = "Search and optimisation"
X = np.random.RandomState(0).rand(30, 2)


@row(KIND, "optuna", "optuna", "create_study().optimize(f, 8)", remedy="`sampler=TPESampler(seed=seed)`")
def optuna_tpe(lib: Any, seed: Seed) -> Any:
    lib.logging.set_verbosity(lib.logging.ERROR)

    def call() -> Any:
        study = lib.create_study(sampler=lib.samplers.TPESampler(seed=seed()))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 8)
        return [trial.params["x"] for trial in study.trials]

    return call


@row(KIND, "optuna", "optuna", "create_study(sampler=RandomSampler())", remedy="`RandomSampler(seed=seed)`")
def optuna_random(lib: Any, seed: Seed) -> Any:
    lib.logging.set_verbosity(lib.logging.ERROR)

    def call() -> Any:
        study = lib.create_study(sampler=lib.samplers.RandomSampler(seed=seed()))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 4)
        return [trial.params["x"] for trial in study.trials]

    return call


@row(
    KIND,
    "hyperopt",
    "hyperopt",
    "fmin(f, hp.uniform(...), tpe.suggest, 5)",
    remedy="`rstate=numpy.random.default_rng(seed)`",
)
def hyperopt_fmin(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        return lib.fmin(
            lambda x: x,
            lib.hp.uniform("x", 0, 1),
            algo=lib.tpe.suggest,
            max_evals=5,
            show_progressbar=False,
            rstate=None if chosen is None else np.random.default_rng(chosen),
        )

    return call


@row(KIND, "nevergrad", "nevergrad", "optimizers.OnePlusOne(2, 10).minimize(f)")
def nevergrad_minimize(lib: Any, seed: Seed) -> Any:
    return lambda: lib.optimizers.OnePlusOne(2, 10).minimize(lambda x: float(np.sum((x - 3) ** 2))).value


@row(KIND, "cma", "cma", "fmin2(f, [1, 1], 0.5)", remedy='`{"seed": seed}` among its options')
def cma_fmin(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        options = {"maxiter": 3, "verbose": -9} | ({} if chosen is None else {"seed": chosen})
        return lib.fmin2(lambda x: float(np.sum(np.asarray(x) ** 2)), [1, 1], 0.5, options)[0]

    return call


@row(KIND, "deap", "deap.tools", "mutGaussian, selTournament, cxTwoPoint")
def deap_operators(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        return [
            list(lib.mutGaussian([0.0] * 5, 0, 1, 0.9)[0]),
            list(map(list, lib.cxTwoPoint([0] * 9, [1] * 9))),
        ]

    return call


@row(KIND, "scikit-learn", "sklearn.model_selection", "RandomizedSearchCV(model, scipy's distributions, n_iter=4)")
def sklearn_search(lib: Any, seed: Seed) -> Any:
    model = importlib.import_module("sklearn.linear_model").Ridge()
    spread = {"alpha": importlib.import_module("scipy.stats").uniform(0, 1)}
    return lambda: (
        lib.RandomizedSearchCV(model, spread, n_iter=4, cv=2).fit(X, X.sum(1)).cv_results_["param_alpha"].tolist()
    )
