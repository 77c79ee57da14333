"""Reinforcement learning, and graphs."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from .row import Seed, row

KIND = "Reinforcement learning"
GRAPHS = "Graphs"


def ring(nodes: int = 12) -> Any:
    around = torch.arange(nodes)
    edges = torch.stack([around, (around + 1) % nodes])
    return torch.cat([edges, edges.flip(0)], dim=1)


@row(KIND, "gymnasium", "gymnasium", 'make("CartPole-v1").reset()', remedy="`.reset(seed=seed)`")
def gymnasium_reset(lib: Any, seed: Seed) -> Any:
    environment = lib.make("CartPole-v1")
    return lambda: environment.reset(seed=seed())[0]


@row(KIND, "gymnasium", "gymnasium", "spaces.Box(0, 1, (3,)).sample()", remedy="`Box(..., seed=seed)`", loader="sample")
def gymnasium_space(lib: Any, seed: Seed) -> Any:
    space = lib.spaces.Box(0, 1, (3,), seed=seed())
    return lambda: space.sample()


@row(KIND, "gymnasium", "gymnasium", 'make_vec("CartPole-v1", 2).reset()', remedy="`.reset(seed=seed)`")
def gymnasium_vector(lib: Any, seed: Seed) -> Any:
    environments = lib.make_vec("CartPole-v1", 2, vectorization_mode="sync")
    return lambda: environments.reset(seed=seed())[0]


@row(
    KIND,
    "stable_baselines3",
    "stable_baselines3",
    'PPO("MlpPolicy", "CartPole-v1").learn(64)',
    remedy="`PPO(..., seed=seed)`",
)
def stable_baselines3_ppo(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        model = lib.PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=1, seed=seed(), device="cpu")
        return [weight.detach().clone() for weight in model.learn(64).policy.parameters()]

    return call


@row(KIND, "torchrl", "torchrl.envs", 'GymEnv("CartPole-v1").rollout(5)', remedy="`.set_seed(seed)` on it")
def torchrl_gym(lib: Any, seed: Seed) -> Any:
    environment = lib.GymEnv("CartPole-v1")
    if (chosen := seed()) is not None:
        environment.set_seed(chosen)
    return lambda: environment.rollout(5)["observation"]


@row(KIND, "torchrl", "torchrl.data", "ReplayBuffer(...).sample()")
def torchrl_replay(lib: Any, seed: Seed) -> Any:
    buffer = lib.ReplayBuffer(storage=lib.ListStorage(100), batch_size=8, collate_fn=list)
    buffer.extend(list(range(100)))
    return lambda: buffer.sample()


@row(KIND, "tensordict", "tensordict.nn", "ProbabilisticTensorDictModule(Normal), drawn from")
def tensordict_module(lib: Any, seed: Seed) -> Any:
    module = lib.ProbabilisticTensorDictModule(
        in_keys=["loc", "scale"],
        out_keys=["drawn"],
        distribution_class=torch.distributions.Normal,
        default_interaction_type=lib.InteractionType.RANDOM,
    )
    values = importlib.import_module("tensordict").TensorDict({"loc": torch.zeros(4), "scale": torch.ones(4)}, [])
    return lambda: module(values.clone())["drawn"]


@row(GRAPHS, "torch-geometric", "torch_geometric.utils", "dropout_edge, erdos_renyi_graph, negative_sampling")
def geometric_utils(lib: Any, seed: Seed) -> Any:
    edges = ring()
    return lambda: [lib.dropout_edge(edges)[0], lib.erdos_renyi_graph(12, 0.3), lib.negative_sampling(edges, 12)]


@row(GRAPHS, "torch-geometric", "torch_geometric.transforms", "RandomNodeSplit(), RandomJitter(0.1)", loader="sample")
def geometric_transforms(lib: Any, seed: Seed) -> Any:
    data = importlib.import_module("torch_geometric.data").Data
    split = lib.Compose([lib.RandomNodeSplit(num_val=3, num_test=3), lib.RandomJitter(0.1)])

    def call() -> Any:
        made = split(data(x=torch.zeros(12, 2), y=torch.zeros(12), pos=torch.zeros(12, 2), edge_index=ring()))
        return [made.train_mask, made.pos]

    return call


@row(
    GRAPHS,
    "torch-geometric",
    "torch_geometric.transforms",
    "AddLaplacianEigenvectorPE(3), 300 nodes",
    remedy="`AddLaplacianEigenvectorPE(3, v0=vector)`, with a fixed one",
    loader="sample",
)
def geometric_laplacian(lib: Any, seed: Seed) -> Any:
    data = importlib.import_module("torch_geometric.data").Data

    def call() -> Any:
        start = {} if seed() is None else {"v0": np.linspace(1, 2, 300)}
        added = lib.AddLaplacianEigenvectorPE(3, attr_name="pe", is_undirected=True, **start)
        return added(data(edge_index=ring(300), num_nodes=300)).pe

    return call


@row(GRAPHS, "torch-geometric", "torch_geometric.loader", "NeighborLoader(data, [2, 2], shuffle=True)")
def geometric_neighbours(lib: Any, seed: Seed) -> Any:
    made = importlib.import_module("torch_geometric.data").Data(x=torch.zeros(12, 2), edge_index=ring())
    return lambda: [batch.n_id for batch in lib.NeighborLoader(made, [1, 1], batch_size=4, shuffle=True)]


@row(GRAPHS, "networkx", "networkx", "gnp_random_graph(20, 0.2), spring_layout")
def networkx_random(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        graph = lib.gnp_random_graph(20, 0.2)
        return [sorted(map(list, graph.edges)), np.array([*lib.spring_layout(graph, iterations=3).values()])]

    return call


@row(
    GRAPHS,
    "networkx",
    "networkx",
    "spectral_layout, 600 nodes",
    remedy="`scipy.sparse.linalg.eigsh(..., v0=...)` of the Laplacian itself: it has no argument for it",
)
def networkx_spectral(lib: Any, seed: Seed) -> Any:
    graph = lib.path_graph(600)
    if seed() is None:
        return lambda: np.array([*lib.spectral_layout(graph).values()])
    eigsh = importlib.import_module("scipy.sparse.linalg").eigsh
    laplacian = lib.laplacian_matrix(graph).astype(float)
    return lambda: eigsh(laplacian, 3, which="SM", v0=np.linspace(1, 2, 600), ncv=60)[1]


@row(
    GRAPHS,
    "networkx",
    "networkx",
    "eigenvector_centrality_numpy, 200 nodes",
    remedy="`eigenvector_centrality(graph)`, which begins with ones",
)
def networkx_centrality(lib: Any, seed: Seed) -> Any:
    graph = lib.barabasi_albert_graph(200, 2, seed=0)
    measure = lib.eigenvector_centrality_numpy if seed() is None else lib.eigenvector_centrality
    return lambda: np.array([*measure(graph).values()])


@row(GRAPHS, "networkx", "networkx", "community.louvain_communities")
def networkx_louvain(lib: Any, seed: Seed) -> Any:
    graph = lib.gnp_random_graph(60, 0.1, seed=0)
    return lambda: [sorted(found) for found in lib.community.louvain_communities(graph)]
