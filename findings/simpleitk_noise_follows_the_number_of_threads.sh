#!/usr/bin/env bash
# SimpleITK 2.5.7, numpy 2.4.6 (Python 3.11): a seeded noise is another one with each number of threads.
#
# AdditiveGaussianNoise, ShotNoise, SaltAndPepperNoise and SpeckleNoise take a seed. Each thread has a part of the image
# and a generator of its own, made from the seed and the part: only the first part is the same with another number of
# threads. By default there are as many as processors, so an augmented scan is another one on another machine, or in a
# container with fewer of them. A registration by Mattes' mutual information with more than one thread has other last
# digits in each call, though its seed is given; by mean squares and by correlation it repeats.
# sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1) makes both repeat.
#
# What it prints: how many different images equal calls with 1, 2, 4 and 8 threads gave, five each; how much of that of
# one thread is in that of two; and how many results eight equal registrations gave.
#   AdditiveGaussianNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
#   ShotNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
#   SpeckleNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
#   registration with 4 threads: mutual information more, mean squares 1, correlation 1
#   registration with 1 threads: mutual information 1, mean squares 1, correlation 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 SimpleITK==2.5.7

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import numpy as np
import SimpleITK as sitk

set_threads = sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
image = sitk.Image(64, 64, 32, sitk.sitkFloat32) + 100
noises = {
    "AdditiveGaussianNoise": lambda: sitk.AdditiveGaussianNoise(image, 1.0, 0.0, 7),
    "ShotNoise": lambda: sitk.ShotNoise(image, 1.0, 7),
    "SpeckleNoise": lambda: sitk.SpeckleNoise(image, 1.0, 7),
}
for name, noise in noises.items():
    made = {}
    for threads in (1, 2, 4, 8):
        set_threads(threads)
        made[threads] = [sitk.GetArrayFromImage(noise()) for _ in range(5)]
    repeats = all(np.array_equal(first, other) for first, *others in made.values() for other in others)
    found = len({first.tobytes() for first, *_ in made.values()})
    halves = [np.mean(made[1][0][part] == made[2][0][part]) for part in (slice(16), slice(16, 32))]
    said = f"the first half of 1 and 2 threads {halves[0]:.0%}, the second {halves[1]:.0%}".replace("%", " %")
    print(f"{name}: each number {'repeats' if repeats else 'differs'}, different images {found}, {said}")

depth, down, right = np.mgrid[:32, :48, :48]


def scan(*center):
    off = sum((axis - place) ** 2 for axis, place in zip((depth, down, right), center, strict=True))
    noise = np.random.default_rng(center[0]).normal(size=off.shape)
    return sitk.GetImageFromArray((100 * np.exp(-off / 80) + noise).astype(np.float32))


fixed, moving = scan(16, 20, 24), scan(15, 22, 27)


def results(metric):
    found = set()
    for _ in range(8):
        method = sitk.ImageRegistrationMethod()
        metric(method)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.2, seed=1)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 20)
        method.SetInitialTransform(sitk.TranslationTransform(3))
        method.SetInterpolator(sitk.sitkLinear)
        found.add(tuple(method.Execute(fixed, moving).GetParameters()))
    return len(found) if len(found) == 1 else "more"


for threads in (4, 1):
    set_threads(threads)
    mutual = results(lambda method: method.SetMetricAsMattesMutualInformation(32))
    squares = results(lambda method: method.SetMetricAsMeanSquares())
    correlation = results(lambda method: method.SetMetricAsCorrelation())
    said = f"mutual information {mutual}, mean squares {squares}, correlation {correlation}"
    print(f"registration with {threads} threads: {said}")
PROGRAM
cmp - said <<'EXPECTED'
AdditiveGaussianNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
ShotNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
SpeckleNoise: each number repeats, different images 4, the first half of 1 and 2 threads 100 %, the second 0 %
registration with 4 threads: mutual information more, mean squares 1, correlation 1
registration with 1 threads: mutual information 1, mean squares 1, correlation 1
EXPECTED
