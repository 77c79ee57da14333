"""Small trainings with packages that people train with, all from configurations: nothing is downloaded.

Each takes what makes it differ from run to run; by default it does not.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pyro
import stable_baselines3
import torch
from pyro import distributions
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # linear_operator still calls torch.jit.script,
    warnings.simplefilter("ignore", FutureWarning)  # which is of this category from torch 2.14 on
    import gpytorch


def pyro_model(data: Tensor) -> None:
    mean = pyro.sample("mean", distributions.Normal(0.0, 1.0))
    with pyro.plate("data", len(data)):
        pyro.sample("seen", distributions.Normal(mean, 1.0), obs=data)


def pyro_guide(data: Tensor) -> None:
    where = pyro.param("where", lambda: torch.zeros(()))
    pyro.sample("mean", distributions.Normal(where, 1.0))


def inference(clear: bool = True) -> list[Any]:
    """Pyro's stochastic variational inference: its parameters are in a store of the process."""
    if clear:
        pyro.clear_param_store()
    svi = pyro.infer.SVI(pyro_model, pyro_guide, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
    with pyro.validation_enabled():  # what reads first, where nobody in the process has switched it off
        return [svi.step(torch.linspace(0, 1, 8)) for _ in range(3)]


class Process(gpytorch.models.ExactGP):  # type: ignore[misc]  # gpytorch has no types
    def __init__(self, x: Tensor, y: Tensor, likelihood: Any) -> None:
        super().__init__(x, y, likelihood)
        self.mean = gpytorch.means.ConstantMean()
        self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))


def regression(seed: int | None = 0) -> Tensor:
    """An exact Gaussian process of gpytorch, trained and asked."""
    x = torch.linspace(0, 1, 12)
    y = torch.sin(6 * x) + torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, 12)).float()
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    model = Process(x, y, likelihood)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    likely = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    for _ in range(3):
        optimizer.zero_grad()
        (-likely(model(x), y)).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        mean: Tensor = likelihood(model(torch.tensor([0.5]))).mean
    return mean


def diffusion(seeded: bool = True) -> Tensor:
    """A training step of a small UNet of diffusers, then a loop that samples with a generator of its own."""
    import diffusers

    model = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=2,
    )
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=20)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    noise, at = torch.randn(2, 1, 8, 8), torch.randint(0, 20, (2,))
    noisy = scheduler.add_noise(torch.ones(2, 1, 8, 8), noise, at)
    nn.functional.mse_loss(model(noisy, at).sample, noise).backward()
    optimizer.step()

    generator = torch.Generator()
    if seeded:
        generator.manual_seed(3)
    else:
        generator.seed()
    picture = torch.randn(1, 1, 8, 8)
    scheduler.set_timesteps(3)
    for now in scheduler.timesteps:
        with torch.no_grad():
            predicted = model(picture, now).sample
        picture = scheduler.step(predicted, now, picture, generator=generator).prev_sample
    return picture


def generation(by_the_clock: bool = False) -> Any:
    """Text of a small GPT-2 of Transformers, sampled: the tokens, and the scores that they were drawn by."""
    import transformers

    sizes: dict[str, Any] = {"vocab_size": 32, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
    model: Any = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=1))
    made = model.eval().generate(
        torch.tensor([[2, 3, 4]]),
        attention_mask=torch.ones(1, 3, dtype=torch.long),
        pad_token_id=1,
        do_sample=True,
        temperature=1.5 + (time.time() % 1 if by_the_clock else 0),
        max_new_tokens=4,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return made.sequences, made.scores


class Walk(gymnasium.Env[Any, Any]):
    """A walk on a line, from a place that is drawn to its middle."""

    observation_space = gymnasium.spaces.Box(-5, 5, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.uniform(-1, 1), 0
        return np.array([self.place], np.float32), {}

    def step(self, action: Any) -> Any:
        self.place += 0.2 if action else -0.2
        self.steps += 1
        return np.array([self.place], np.float32), -abs(self.place), False, self.steps >= 5, {}


def reinforced(seed: int | None = 0, algorithm: str = "PPO") -> Any:
    """Two rollouts and their updates by an algorithm of stable-baselines3."""
    more = {"batch_size": 8, "n_epochs": 2} if algorithm == "PPO" else {}
    made = getattr(stable_baselines3, algorithm)(
        "MlpPolicy", Walk(), n_steps=8, seed=seed, device="cpu", policy_kwargs={"net_arch": [4]}, **more
    )
    return made.learn(16).policy.state_dict()
