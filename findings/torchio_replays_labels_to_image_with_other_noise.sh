#!/usr/bin/env bash
# torchio 1.2.1, torch 2.13.0 (CPU; numpy 2.4.6, Python 3.11): an image that RandomLabelsToImage made is not made
# again by its own history.
#
# torchio keeps in each subject the transforms that it went through, with what they drew, so that the same subject can
# be made again: subject.get_composed_history() applied to the subject as it was. RandomNoise keeps a seed for its
# noise. RandomLabelsToImage keeps the mean and the deviation of each tissue alone; its voxels are drawn from torch's
# global generator each time that it is applied, also where the history is. Nothing is said, and where the deviations
# are small the images look alike. The other random transforms below come out as they were. With std=[0, ...] and
# RandomNoise after it, whose seed is kept, the history makes the same image.
#
# What it prints, of a subject through each transform and through the history of that: how many voxels of 2688 differ.
#   RandomNoise: 0
#   RandomBiasField: 0
#   RandomGhosting: 0
#   RandomSpike: 0
#   RandomSwap: 0
#   RandomFlip: 0
#   RandomLabelsToImage: 2688
#   RandomLabelsToImage, deviations of 0: 0
#   the same, then RandomNoise: 0
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 torchio==1.2.1

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import torch
import torchio as tio

drawn = torch.Generator().manual_seed(0)
image = torch.rand(1, 12, 14, 16, generator=drawn)
labels = torch.randint(4, (1, 12, 14, 16), generator=drawn)


def subject():
    return tio.Subject(image=tio.ScalarImage(tensor=image), labels=tio.LabelMap(tensor=labels))


def show(name, transform, key="image"):
    torch.manual_seed(7)
    made = transform(subject())
    replay = made.get_composed_history()
    torch.manual_seed(8)
    again = replay(subject())
    print(f"{name}: {int((made[key].data != again[key].data).sum())}")


show("RandomNoise", tio.RandomNoise())
show("RandomBiasField", tio.RandomBiasField())
show("RandomGhosting", tio.RandomGhosting())
show("RandomSpike", tio.RandomSpike())
show("RandomSwap", tio.RandomSwap(patch_size=3, num_iterations=5))
show("RandomFlip", tio.RandomFlip(flip_probability=1))
tissues = {"label_key": "labels", "image_key": "tissues", "used_labels": [0, 1, 2, 3]}
show("RandomLabelsToImage", tio.RandomLabelsToImage(**tissues), "tissues")
flat = tio.RandomLabelsToImage(**tissues, mean=[0, 1, 2, 3], std=[0, 0, 0, 0])
show("RandomLabelsToImage, deviations of 0", flat, "tissues")
noisy = tio.Compose([flat, tio.RandomNoise(std=(0.1, 0.5), include=["tissues"])])
show("the same, then RandomNoise", noisy, "tissues")
PROGRAM
cmp - said <<'EXPECTED'
RandomNoise: 0
RandomBiasField: 0
RandomGhosting: 0
RandomSpike: 0
RandomSwap: 0
RandomFlip: 0
RandomLabelsToImage: 2688
RandomLabelsToImage, deviations of 0: 0
the same, then RandomNoise: 0
EXPECTED
