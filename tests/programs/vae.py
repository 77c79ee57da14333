"""A variational autoencoder of noisy pictures, by the reparameterisation trick.

Of the kind of pytorch/examples' vae.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
torch.manual_seed(14)


class Noisy(Dataset[Tensor]):
    def __init__(self) -> None:
        self.noise = np.random.default_rng(14)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Tensor:
        picture = np.zeros((4, 4), dtype=np.float32)
        picture[index % 4] = 0.9
        picture += 0.1 * self.noise.random((4, 4), dtype=np.float32)
        return torch.from_numpy(picture)


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(8, 2), nn.Linear(8, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 16))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = self.encoder(pictures)
        mean, log_variance = self.mean(code), self.log_variance(code)
        deviation = torch.exp(0.5 * log_variance)
        return self.decoder(mean + deviation * torch.randn_like(mean)), mean, log_variance


model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(2):
    for pictures in DataLoader(Noisy(), batch_size=12, shuffle=True):
        optimizer.zero_grad()
        made, mean, log_variance = model(pictures)
        error = nn.functional.binary_cross_entropy_with_logits(made, pictures.flatten(1), reduction="sum")
        loss = error - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.6f}")
