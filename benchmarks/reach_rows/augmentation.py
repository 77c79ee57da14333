"""What changes images, volumes and sound."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from .row import Seed, row

KIND = "Augmentation"
IMAGE = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
PICTURE = torch.arange(3 * 16 * 16, dtype=torch.float32).reshape(1, 3, 16, 16) / 768
VOLUME = torch.arange(8**3, dtype=torch.float32).reshape(1, 8, 8, 8)
POINTS = np.random.RandomState(0).rand(200, 2).astype(np.float32)
MOVED = POINTS + np.random.RandomState(1).rand(200, 2).astype(np.float32) / 5
SOUND = np.linspace(-1, 1, 4000, dtype=np.float32)


@row(
    KIND,
    "albumentations",
    "albumentations",
    "Compose([GaussNoise(), RandomCrop(8, 8)])",
    remedy="`seed=seed`",
    loader="sample",
)
def albumentations_compose(lib: Any, seed: Seed) -> Any:
    pipeline = lib.Compose([lib.GaussNoise(p=1), lib.RandomCrop(8, 8)], seed=seed())
    return lambda: pipeline(image=IMAGE)["image"]


@row(
    KIND,
    "albumentations",
    "albumentations",
    "GaussNoise(), without a Compose",
    remedy="`.set_random_seed(seed)` on each transform",
    loader="sample",
)
def albumentations_alone(lib: Any, seed: Seed) -> Any:
    transform = lib.GaussNoise(p=1)
    if (chosen := seed()) is not None:
        transform.set_random_seed(chosen)
    return lambda: transform(image=IMAGE)["image"]


@row(
    KIND,
    "torchvision",
    "benchmarks.reach_rows.torchvision_v2",
    "v2.Compose([RandomResizedCrop(8), RandAugment(), ColorJitter(0.4)])",
    loader="sample",
)
def torchvision_v2(lib: Any, seed: Seed) -> Any:
    v2 = lib.from_torchvision
    pipeline = v2.Compose([v2.RandomResizedCrop(8), v2.RandAugment(), v2.ColorJitter(0.4)])
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    return lambda: pipeline(image)


@row(KIND, "timm", "benchmarks.reach_rows.torchvision_v2", "Mixup(mixup_alpha=0.8)(images, labels)")
def timm_mixup(lib: Any, seed: Seed) -> Any:
    mixup = importlib.import_module("timm.data.mixup").Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=4)
    return lambda: list(mixup(PICTURE.repeat(4, 1, 1, 1), torch.arange(4)))


@row(
    KIND,
    "timm",
    "benchmarks.reach_rows.torchvision_v2",
    'rand_augment_transform("rand-m9-mstd0.5", {})',
    loader="sample",
)
def timm_rand_augment(lib: Any, seed: Seed) -> Any:
    image = importlib.import_module("PIL.Image").fromarray(IMAGE)
    augment = importlib.import_module("timm.data.auto_augment").rand_augment_transform("rand-m9-mstd0.5", {})
    return lambda: np.asarray(augment(image))


@row(
    KIND, "kornia", "kornia.augmentation", "AugmentationSequential(RandomAffine(30), ColorJiggle(...))", loader="sample"
)
def kornia_sequential(lib: Any, seed: Seed) -> Any:
    pipeline = lib.AugmentationSequential(lib.RandomAffine(30.0, p=1.0), lib.ColorJiggle(0.2, 0.2, 0.2, 0.2, p=1.0))
    return lambda: pipeline(PICTURE)


@row(KIND, "torchio", "torchio", "Compose([RandomNoise(), RandomFlip()])", loader="sample")
def torchio_compose(lib: Any, seed: Seed) -> Any:
    pipeline = lib.Compose([lib.RandomNoise(), lib.RandomFlip(axes=(0, 1, 2))])
    return lambda: pipeline(VOLUME)


@row(
    KIND,
    "monai",
    "monai.transforms",
    "Compose([RandGaussianNoise(prob=1), RandFlip()])",
    remedy="`.set_random_state(seed)` on the Compose",
    loader="sample",
)
def monai_compose(lib: Any, seed: Seed) -> Any:
    pipeline = lib.Compose([lib.RandGaussianNoise(prob=1), lib.RandFlip(0.5)])
    if (chosen := seed()) is not None:
        pipeline.set_random_state(chosen)
    return lambda: torch.as_tensor(pipeline(VOLUME)).clone()


@row(
    KIND,
    "monai",
    "monai.transforms",
    "RandGaussianNoise(prob=1), without a Compose",
    remedy="`.set_random_state(seed)` on each transform",
    loader="sample",
)
def monai_alone(lib: Any, seed: Seed) -> Any:
    transform = lib.RandGaussianNoise(prob=1)
    if (chosen := seed()) is not None:
        transform.set_random_state(chosen)
    return lambda: torch.as_tensor(transform(VOLUME)).clone()


@row(
    KIND,
    "monai",
    "monai.utils",
    "set_determinism(0), then RandGaussianNoise without a Compose",
    remedy="`.set_random_state(seed)` on each transform",
)
def monai_set_determinism(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        lib.set_determinism(0)
        transform = importlib.import_module("monai.transforms").RandGaussianNoise(prob=1)
        if (chosen := seed()) is not None:
            transform.set_random_state(chosen)
        made = torch.as_tensor(transform(VOLUME)).clone()
        lib.set_determinism(None)
        return made

    return call


@row(KIND, "audiomentations", "audiomentations", "Compose([AddGaussianNoise(p=1), TimeMask(p=1)])", loader="sample")
def audiomentations_compose(lib: Any, seed: Seed) -> Any:
    pipeline = lib.Compose([lib.AddGaussianNoise(p=1), lib.TimeMask(p=1)])
    return lambda: pipeline(samples=SOUND.copy(), sample_rate=8000)


@row(KIND, "imgaug", "imgaug.augmenters", "AdditiveGaussianNoise(scale=10)", remedy="`seed=seed`", loader="sample")
def imgaug_noise(lib: Any, seed: Seed) -> Any:
    augmenter = lib.AdditiveGaussianNoise(scale=10, seed=seed())
    return lambda: augmenter(image=IMAGE)


@row(
    KIND,
    "opencv-python-headless",
    "cv2",
    "cv2.kmeans(..., KMEANS_RANDOM_CENTERS)",
    remedy="`cv2.setRNGSeed(seed)` before it",
    loader="sample",
)
def cv2_kmeans(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        if (chosen := seed()) is not None:
            lib.setRNGSeed(chosen)
        return lib.kmeans(POINTS, 8, None, (lib.TERM_CRITERIA_MAX_ITER, 1, 0.1), 1, lib.KMEANS_RANDOM_CENTERS)[2]

    return call


@row(KIND, "opencv-python-headless", "cv2", "cv2.findHomography(a, b, RANSAC)")
def cv2_homography(lib: Any, seed: Seed) -> Any:
    return lambda: lib.findHomography(POINTS, MOVED, lib.RANSAC, 0.05)[0]


@row(KIND, "lhotse", "lhotse.dataset.signal_transforms", "SpecAugment(p=1)", loader="sample")
def lhotse_spec_augment(lib: Any, seed: Seed) -> Any:
    augment = lib.SpecAugment(p=1.0, time_warp_factor=None)
    features = torch.arange(100 * 20, dtype=torch.float32).reshape(1, 100, 20)
    return lambda: augment(features.clone())
