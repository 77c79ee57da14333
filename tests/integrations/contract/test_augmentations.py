"""Augmentations that keep generators are named, and exact once they are seeded for each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kornia.augmentation
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from deterministic import make_loader, sample_rng
from deterministic.errors import NotReproducibleError
from deterministic.testing import check_dataset

with pytest.MonkeyPatch.context() as patched:
    patched.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version when it is imported
    # monai sets these for the whole process when it is imported.
    for name, value in [
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        ("KMP_DUPLICATE_LIB_OK", "True"),
        ("KMP_INIT_AT_FORK", ""),
    ]:
        patched.setenv(name, value)
    import albumentations
    import monai.data
    import monai.transforms


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


def cached() -> Any:
    parts = [monai.transforms.ScaleIntensity(), monai.transforms.RandGaussianNoise(prob=1.0)]
    images = [torch.arange(9.0).reshape(1, 3, 3) * index for index in range(4)]
    return monai.data.CacheDataset(images, monai.transforms.Compose(parts), progress=False)


def kornia_module() -> Augmented:
    pipeline = torch.nn.Sequential(
        kornia.augmentation.RandomHorizontalFlip(p=0.5), kornia.augmentation.ColorJiggle(0.2, 0.2, 0.2, 0.1, p=1.0)
    )
    return Augmented(lambda index: pipeline(torch.rand(1, 3, 4, 4) * (index + 1) / 5))


KEEPS: dict[str, Callable[[], Any]] = {
    "albumentations": lambda: albumentation(is_seeded=False),
    "albumentations with a seed": lambda: albumentation(is_seeded=False, seed=3),
    "monai": lambda: monai_transform(is_seeded=False),
    "monai's cache": cached,
}
EXACT: dict[str, Callable[[], Any]] = {
    "albumentations": lambda: albumentation(is_seeded=True),
    "monai": lambda: monai_transform(is_seeded=True),
    "kornia": kornia_module,
}


@pytest.mark.parametrize("name", KEEPS)
def test_an_augmentation_that_keeps_a_generator_is_named(name: str) -> None:
    with pytest.raises(NotReproducibleError, match="draw from"):
        make_loader(KEEPS[name](), seed=0, collate_fn=list).check(4)
    with pytest.raises(NotReproducibleError):
        check_dataset(KEEPS[name])


@pytest.mark.parametrize("name", EXACT)
def test_an_augmentation_that_is_seeded_for_each_sample_is_exact(name: str) -> None:
    make_loader(EXACT[name](), seed=0, collate_fn=list).check(4)
    check_dataset(EXACT[name])
