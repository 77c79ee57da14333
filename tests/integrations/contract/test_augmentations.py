"""Augmentations and datasets of packages that hold generators are exact as they are."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import datasets
import gymnasium
import numpy as np
import pytest
import scipy.stats
import torch
from torch.utils.data import Dataset

from deterministic import fingerprint, make_loader, reproducible, sample_rng
from deterministic.errors import DeterministicError, NotReproducibleError
from deterministic.testing import check_dataset

from ...lazy import Lazy
from ...processes import run_python

albumentations, kornia, monai = (Lazy(name) for name in ("albumentations", "kornia", "monai"))


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version
        # monai sets these for the whole process.
        for name, value in [
            ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
            ("KMP_DUPLICATE_LIB_OK", "True"),
            ("KMP_INIT_AT_FORK", ""),
        ]:
            patched.setenv(name, value)
        for name in ("albumentations", "kornia.augmentation", "monai.data", "monai.transforms", "monai.utils"):
            importlib.import_module(name)


class Augmented(Dataset[Any]):
    """Small images, augmented."""

    def __init__(self, augment: Callable[[int], Any]) -> None:
        self.augment = augment

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.augment(index)


def albumentation(*, is_seeded: bool, **arguments: Any) -> Augmented:
    parts = [albumentations.RandomBrightnessContrast(p=1.0), albumentations.HorizontalFlip(p=0.5)]
    pipeline = albumentations.Compose(parts, **arguments)

    def augment(index: int) -> Any:
        if is_seeded:
            pipeline.set_random_seed(int(sample_rng("numpy").integers(2**31)))
        image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) + np.uint8(index)
        return pipeline(image=image)["image"]

    return Augmented(augment)


def monai_transform(*, is_seeded: bool) -> Augmented:
    parts = [monai.transforms.RandGaussianNoise(prob=1.0), monai.transforms.RandFlip(prob=0.5, spatial_axis=0)]
    pipeline = monai.transforms.Compose(parts)

    def augment(index: int) -> Any:
        if is_seeded:
            pipeline.set_random_state(seed=int(sample_rng("numpy").integers(2**31)))
        return pipeline(torch.ones(1, 4, 4) * index)

    return Augmented(augment)


def bare() -> Augmented:
    flip, light = albumentations.HorizontalFlip(p=0.5), albumentations.RandomBrightnessContrast(p=1.0)
    return Augmented(
        lambda index: light(image=flip(image=np.arange(48, dtype=np.uint8).reshape(4, 4, 3))["image"])["image"]
    )


def cached() -> Any:
    parts = [monai.transforms.ScaleIntensity(), monai.transforms.RandGaussianNoise(prob=1.0)]
    images = [torch.arange(9.0).reshape(1, 3, 3) * index for index in range(4)]
    return monai.data.CacheDataset(images, monai.transforms.Compose(parts), progress=False)


def kornia_module() -> Augmented:
    pipeline = torch.nn.Sequential(
        kornia.augmentation.RandomHorizontalFlip(p=0.5), kornia.augmentation.ColorJiggle(0.2, 0.2, 0.2, 0.1, p=1.0)
    )
    return Augmented(lambda index: pipeline(torch.rand(1, 3, 4, 4) * (index + 1) / 5))


def env() -> Augmented:
    made = gymnasium.make("CartPole-v1")
    return Augmented(lambda index: [*made.reset()[0], made.action_space.sample(), index])


def frozen() -> Augmented:
    distribution = scipy.stats.norm(loc=1.0)
    distribution.random_state = np.random.default_rng()
    return Augmented(lambda index: distribution.rvs(size=3) + index)


def with_transform() -> Any:
    generator = np.random.default_rng()
    rows = datasets.Dataset.from_dict({"number": list(range(4))})
    return rows.with_transform(lambda batch: {"number": [n + generator.random() for n in batch["number"]]})


class Mixup(Augmented):
    """MONAI's transforms without a Compose draw from one generator, which their class has."""

    def __init__(self) -> None:
        noise, flip = monai.transforms.RandGaussianNoise(prob=1.0), monai.transforms.RandFlip(prob=0.5, spatial_axis=0)
        super().__init__(lambda index: flip(noise(torch.ones(1, 4, 4) * index)))


class Sampled:
    """A space, asked for a point for each sample."""

    def __init__(self, space: Any) -> None:
        self.space = space

    def __call__(self, index: int) -> Any:
        return self.space.sample() + index


HOLDS: dict[str, Callable[[], Any]] = {
    "albumentations": lambda: albumentation(is_seeded=False),
    "albumentations with a seed": lambda: albumentation(is_seeded=False, seed=3),
    "an albumentations transform": bare,
    "monai": lambda: monai_transform(is_seeded=False),
    "monai's cache": cached,
    "monai's transforms": Mixup,
    "a gymnasium space": lambda: Augmented(Sampled(gymnasium.spaces.Box(0, 1, (2,)))),
    "a gymnasium env": env,
    "a frozen distribution": frozen,
    "with_transform of datasets": with_transform,
}
SEEDED: dict[str, Callable[[], Any]] = {
    "albumentations": lambda: albumentation(is_seeded=True),
    "monai": lambda: monai_transform(is_seeded=True),
}


@pytest.mark.parametrize("name", HOLDS)
def test_an_augmentation_that_keeps_a_generator_is_exact(name: str) -> None:
    make_loader(HOLDS[name](), seed=0, collate_fn=list).check(4)
    check_dataset(HOLDS[name])


@pytest.mark.parametrize("name", HOLDS)
def test_left_as_it_is_it_is_named(name: str) -> None:
    with pytest.raises(NotReproducibleError, match="draw from"):
        make_loader(HOLDS[name](), seed=0, collate_fn=list, held="leave").check(4)
    if "gymnasium" not in name:  # which makes its generators when they are first used
        with pytest.raises(DeterministicError, match="holds generators of its own"):
            make_loader(HOLDS[name](), seed=0, held="refuse")


@pytest.mark.parametrize("name", SEEDED)
def test_an_augmentation_that_is_seeded_for_each_sample_is_exact(name: str) -> None:
    make_loader(SEEDED[name](), seed=0, collate_fn=list, held="leave").check(4)
    check_dataset(SEEDED[name])


def test_what_draws_from_the_global_generators_is_exact() -> None:
    made: Any = make_loader(kornia_module(), seed=0, collate_fn=list, held="refuse")
    made.check(4)
    check_dataset(kornia_module)


def test_monai_s_set_determinism_is_exact_and_the_loader_s_seed_decides() -> None:
    def seen(determinism: int, seed: int, **arguments: Any) -> Any:
        monai.utils.set_determinism(determinism)
        dataset = monai_transform(is_seeded=False)
        return [image.tolist() for image in make_loader(dataset, seed=seed, **arguments)]

    with reproducible(seed=None, deterministic=False):  # it seeds and sets flags for the whole process
        try:
            first = seen(3, 0)
            # Its Compose has drawn from the generator that it made of that seed, which so shows it no longer.
            assert first == seen(3, 0, num_workers=2) == seen(4, 0)
            assert first != seen(3, 1)
        finally:
            monai.utils.set_determinism(None)


def test_two_seeds_of_a_pipeline_give_two_streams() -> None:
    def seen(seed: int) -> Any:
        return [image.tolist() for image in make_loader(albumentation(is_seeded=False, seed=seed), seed=0)]

    assert seen(3) == seen(3) != seen(4)


def fingerprints() -> dict[str, str]:
    return {
        name: fingerprint([s for b in make_loader(make(), 2, True, seed=5, collate_fn=list) for s in b])
        for name, make in HOLDS.items()
    }


def test_a_run_repeats_in_another_process() -> None:
    module = "tests.integrations.contract.test_augmentations"
    program = f"import json; from {module} import fingerprints; print(json.dumps(fingerprints()))"
    assert json.loads(run_python(program, NO_ALBUMENTATIONS_UPDATE="1")) == fingerprints()
