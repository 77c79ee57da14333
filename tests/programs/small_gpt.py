"""A small GPT: batches at random offsets, gradients accumulated, AdamW with a falling rate, evaluated now and then.

Of the kind of karpathy/nanoGPT.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)
torch.manual_seed(16)
TEXT = "to be or not to be, that is the question; whether it is nobler in the mind to suffer. " * 4
LETTERS = sorted(set(TEXT))
data = torch.tensor([LETTERS.index(letter) for letter in TEXT])
BLOCK, WIDTH, HEADS, ACCUMULATED = 8, 8, 2, 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attended, self.projected = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mixed = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.attended(self.first(x)).split(WIDTH, 2)
        )
        attention = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projected(attention.transpose(1, 2).flatten(2))
        mixed: Tensor = self.mixed(self.second(x))
        return x + mixed


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(len(LETTERS), WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.drop, self.block, self.norm = nn.Dropout(0.1), Block(), nn.LayerNorm(WIDTH)
        nn.init.normal_(self.letters.weight, std=0.02)

    def forward(self, letters: Tensor, following: Tensor) -> Tensor:
        x = self.drop(self.letters(letters) + self.places(torch.arange(BLOCK)))
        logits = self.norm(self.block(x)) @ self.letters.weight.t()
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def get_batch() -> tuple[Tensor, Tensor]:
    starts = torch.randint(len(data) - BLOCK, (4,))
    x = torch.stack([data[start : start + BLOCK] for start in starts.tolist()])
    return x, torch.stack([data[start + 1 : start + 1 + BLOCK] for start in starts.tolist()])


model = GPT()
decayed = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
plain = [parameter for parameter in model.parameters() if parameter.dim() < 2]
groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
for step in range(3):
    if step % 2 == 0:
        model.eval()
        with torch.no_grad():
            print(f"step {step}: loss {sum(model(*get_batch()).item() for _ in range(2)) / 2:.6f}")
        model.train()
    for group in optimizer.param_groups:
        group["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 3)) / 2
    for _ in range(ACCUMULATED):
        loss = model(*get_batch()) / ACCUMULATED
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
