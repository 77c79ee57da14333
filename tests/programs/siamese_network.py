"""A siamese network: pairs of pictures, of one class or of two, whose partners are picked by random indexes.

Of the kind of pytorch/examples' siamese_network.
"""

import random

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
torch.manual_seed(12)
random.seed(12)
CLASSES, EACH = 3, 8
centers = torch.randn(CLASSES, 1, 6, 6)
pictures = centers.repeat_interleave(EACH, dim=0) + 0.3 * torch.randn(CLASSES * EACH, 1, 6, 6)


class Pairs(Dataset[tuple[Tensor, Tensor, Tensor]]):
    def __len__(self) -> int:
        return len(pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        alike = random.random() < 0.5
        group = index // EACH if alike else (index // EACH + random.randint(1, CLASSES - 1)) % CLASSES
        partner = group * EACH + random.randrange(EACH)
        return pictures[index], pictures[partner], torch.tensor(float(alike))


net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4))
optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
for _ in range(2):
    for one, other, alike in DataLoader(Pairs(), batch_size=12, shuffle=True):
        optimizer.zero_grad()
        distance = nn.functional.pairwise_distance(net(one), net(other))
        apart = (1.0 - distance).clamp(min=0)
        loss = (alike * distance.square() + (1 - alike) * apart.square()).mean()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.6f}")
