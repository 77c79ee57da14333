"""Classical machine learning and nearest neighbours."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .row import Seed, row

KIND = "Classical machine learning"
POINTS = np.random.RandomState(0).rand(120, 4).astype(np.float32)
LABELS = (POINTS.sum(1) + np.random.RandomState(1).rand(120) > 2.5).astype(int)


@row(KIND, "scikit-learn", "sklearn.ensemble", "RandomForestClassifier(10).fit(x, y)")
def sklearn_forest(lib: Any, seed: Seed) -> Any:
    return lambda: lib.RandomForestClassifier(10).fit(POINTS, LABELS).predict_proba(POINTS)


@row(KIND, "scikit-learn", "sklearn.ensemble", "RandomForestClassifier(10, n_jobs=2).fit(x, y)")
def sklearn_forest_jobs(lib: Any, seed: Seed) -> Any:
    return lambda: lib.RandomForestClassifier(10, n_jobs=2).fit(POINTS, LABELS).predict_proba(POINTS)


@row(KIND, "scikit-learn", "sklearn.cluster", "KMeans(5).fit(x)")
def sklearn_kmeans(lib: Any, seed: Seed) -> Any:
    return lambda: lib.KMeans(5, n_init=1, max_iter=2).fit(POINTS).cluster_centers_


@row(KIND, "scikit-learn", "sklearn.model_selection", "train_test_split(x), ShuffleSplit, KFold(shuffle=True)")
def sklearn_splits(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        folds = [*lib.ShuffleSplit(2).split(POINTS), *lib.KFold(3, shuffle=True).split(POINTS)]
        return [lib.train_test_split(POINTS), [list(fold) for fold in folds]]

    return call


@row(KIND, "scikit-learn", "sklearn.decomposition", 'PCA(2, svd_solver="arpack"), TruncatedSVD(2)')
def sklearn_decomposition(lib: Any, seed: Seed) -> Any:
    return lambda: [
        lib.PCA(2, svd_solver="arpack").fit(POINTS).components_,
        lib.TruncatedSVD(2).fit(POINTS).components_,
    ]


@row(KIND, "imbalanced-learn", "imblearn.over_sampling", "SMOTE().fit_resample(x, y)")
def imblearn_smote(lib: Any, seed: Seed) -> Any:
    return lambda: lib.SMOTE().fit_resample(POINTS, LABELS)[0]


@row(KIND, "xgboost-cpu", "xgboost", "XGBClassifier(subsample=0.5).fit(x, y)")
def xgboost_classifier(lib: Any, seed: Seed) -> Any:
    return lambda: lib.XGBClassifier(n_estimators=5, subsample=0.5, n_jobs=1).fit(POINTS, LABELS).predict_proba(POINTS)


@row(KIND, "lightgbm", "lightgbm", "LGBMClassifier(subsample=0.5, subsample_freq=1).fit(x, y)")
def lightgbm_classifier(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        model = lib.LGBMClassifier(n_estimators=5, subsample=0.5, subsample_freq=1, n_jobs=1, verbose=-1)
        return model.fit(POINTS, LABELS).predict_proba(POINTS)

    return call


@row(KIND, "catboost", "catboost", "CatBoostClassifier(iterations=5).fit(x, y)")
def catboost_classifier(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        model = lib.CatBoostClassifier(iterations=5, verbose=False, allow_writing_files=False, thread_count=1)
        return model.fit(POINTS, LABELS).predict_proba(POINTS)

    return call


@row(KIND, "faiss-cpu", "faiss", "Kmeans(4, 5).train(x), IndexIVFFlat")
def faiss_kmeans(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        kmeans = lib.Kmeans(4, 5, niter=2)
        kmeans.train(POINTS)
        return kmeans.centroids

    return call


@row(KIND, "umap-learn", "umap", "UMAP().fit_transform(x)", remedy="`UMAP(random_state=seed)`, which takes one thread")
def umap_fit(lib: Any, seed: Seed) -> Any:
    return lambda: lib.UMAP(n_neighbors=5, n_epochs=5, random_state=seed()).fit_transform(POINTS)


@row(KIND, "pytorch-metric-learning", "pytorch_metric_learning.samplers", "MPerClassSampler(labels, 2)")
def metric_sampler(lib: Any, seed: Seed) -> Any:
    return lambda: list(lib.MPerClassSampler(LABELS, 2, length_before_new_iter=20))


@row(KIND, "pytorch-metric-learning", "pytorch_metric_learning.miners", "UniformHistogramMiner, HDCMiner")
def metric_miner(lib: Any, seed: Seed) -> Any:
    torch = importlib.import_module("torch")
    return lambda: list(
        lib.UniformHistogramMiner(num_bins=10, pos_per_bin=2, neg_per_bin=2)(
            torch.from_numpy(POINTS), torch.from_numpy(LABELS)
        )
    )
