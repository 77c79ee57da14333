"""Probabilistic programming, Gaussian processes, and samplers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from .row import Seed, row

KIND = "Bayesian models and Gaussian processes"
START = np.random.RandomState(0).rand(8, 2)


@row(KIND, "pyro-ppl", "pyro", "SVI(model, guide, Adam, Trace_ELBO()).step()")
def pyro_svi(lib: Any, seed: Seed) -> Any:
    infer, optim = importlib.import_module("pyro.infer"), importlib.import_module("pyro.optim")
    guides = importlib.import_module("pyro.infer.autoguide")

    def model() -> Any:
        weight = lib.sample("weight", lib.distributions.Normal(0.0, 1.0))
        lib.sample("seen", lib.distributions.Normal(weight, 1.0), obs=torch.tensor(2.0))

    def call() -> Any:
        lib.clear_param_store()
        steps = infer.SVI(model, guides.AutoNormal(model), optim.Adam({"lr": 0.01}), infer.Trace_ELBO())
        return [steps.step() for _ in range(3)]

    return call


@row(KIND, "pyro-ppl", "pyro.infer", "MCMC(NUTS(model), 5).run()")
def pyro_nuts(lib: Any, seed: Seed) -> Any:
    pyro = importlib.import_module("pyro")

    def model() -> Any:
        weight = pyro.sample("weight", pyro.distributions.Normal(0.0, 1.0))
        pyro.sample("seen", pyro.distributions.Normal(weight, 1.0), obs=torch.tensor(2.0))

    def call() -> Any:
        chain = lib.MCMC(lib.NUTS(model), num_samples=5, warmup_steps=5, disable_progbar=True)
        chain.run()
        return chain.get_samples()["weight"]

    return call


@row(KIND, "gpytorch", "gpytorch", "sample() of an ExactGP's posterior")
def gpytorch_posterior(lib: Any, seed: Seed) -> Any:
    class Model(lib.models.ExactGP):  # type: ignore[misc]
        def __init__(self, x: Any, y: Any, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean, self.covariance = lib.means.ConstantMean(), lib.kernels.RBFKernel()

        def forward(self, x: Any) -> Any:
            return lib.distributions.MultivariateNormal(self.mean(x), self.covariance(x))

    x = torch.linspace(0, 1, 8)
    model = Model(x, x.sin(), lib.likelihoods.GaussianLikelihood()).eval()
    return lambda: model(torch.linspace(0, 2, 5)).sample()


@row(KIND, "botorch", "botorch.utils.sampling", "draw_sobol_samples(bounds, n=4, q=1)")
def botorch_sobol(lib: Any, seed: Seed) -> Any:
    return lambda: lib.draw_sobol_samples(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), n=4, q=1)


@row(KIND, "botorch", "botorch", "optimize_acqf(qLogExpectedImprovement(model), q=2)")
def botorch_acquisition(lib: Any, seed: Seed) -> Any:
    x = torch.linspace(0, 1, 6, dtype=torch.double).unsqueeze(1)
    model = lib.models.SingleTaskGP(x, (6 * x).sin())
    wanted = importlib.import_module("botorch.acquisition.logei").qLogExpectedImprovement
    optimize = importlib.import_module("botorch.optim").optimize_acqf
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.double)

    def call() -> Any:
        acquisition = wanted(model, best_f=0.5)
        return optimize(acquisition, bounds, q=2, num_restarts=2, raw_samples=8, options={"maxiter": 3})[0]

    return call


@row(KIND, "torch", "torch.quasirandom", "SobolEngine(2, scramble=True).draw(4)")
def torch_sobol(lib: Any, seed: Seed) -> Any:
    return lambda: lib.SobolEngine(2, scramble=True).draw(4)


def log_probability(x: Any) -> Any:
    return -0.5 * np.sum(np.asarray(x) ** 2)


@row(KIND, "emcee", "emcee", "EnsembleSampler(8, 2, f).run_mcmc(start, 5)")
def emcee_sampler(lib: Any, seed: Seed) -> Any:
    return lambda: lib.EnsembleSampler(8, 2, log_probability).run_mcmc(START, 5).coords


@row(
    KIND,
    "dynesty",
    "dynesty",
    "NestedSampler(f, transform, 2, nlive=20)",
    remedy="`rstate=numpy.random.default_rng(seed)`",
)
def dynesty_nested(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        own = None if chosen is None else np.random.default_rng(chosen)
        sampler = lib.NestedSampler(log_probability, lambda u: 4 * u - 2, 2, nlive=20, rstate=own)
        sampler.run_nested(maxiter=10, print_progress=False)
        return sampler.results.samples

    return call


@row(KIND, "torchsde", "torchsde", "sdeint(sde, y0, ts)")
def torchsde_integrate(lib: Any, seed: Seed) -> Any:
    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Any, y: Any) -> Any:
            return -y

        def g(self, t: Any, y: Any) -> Any:
            return torch.ones_like(y)

    return lambda: lib.sdeint(Equation(), torch.zeros(2, 3), torch.linspace(0, 1, 3), dt=0.25)
