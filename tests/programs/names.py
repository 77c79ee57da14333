"""A model of names, letter by letter: plain tensors, batch normalisation and the update by hand.

Of the kind of karpathy/makemore.
"""

import torch
from torch import Tensor
from torch.nn import functional

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(15)
NAMES = ["ada", "alan", "barbara", "claude", "donald", "edsger", "emmy", "grace", "hedy", "john", "kurt", "sophie"]
LETTERS = [".", *sorted(set("".join(NAMES)))]
NUMBER = {letter: number for number, letter in enumerate(LETTERS)}
SEEN = 3  # letters of context

pairs = []
for name in NAMES:
    context = [0] * SEEN
    for letter in f"{name}.":
        pairs.append((context, NUMBER[letter]))
        context = [*context[1:], NUMBER[letter]]
inputs = torch.tensor([context for context, _ in pairs])
targets = torch.tensor([target for _, target in pairs])

table = torch.randn((len(LETTERS), 4), generator=generator)
hidden = torch.randn((SEEN * 4, 16), generator=generator)
hidden = hidden * 0.5
gain, shift = torch.ones(16), torch.zeros(16)
out = torch.randn((16, len(LETTERS)), generator=generator) * 0.1
weights = [table, hidden, gain, shift, out]
for weight in weights:
    weight.requires_grad = True
running_mean, running_deviation = torch.zeros(16), torch.ones(16)


def logits_of(contexts: Tensor) -> Tensor:
    global running_mean, running_deviation
    before = table[contexts].flatten(1) @ hidden
    mean, deviation = before.mean(0), before.std(0)
    with torch.no_grad():
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_deviation = 0.9 * running_deviation + 0.1 * deviation
    return torch.tanh(gain * (before - mean) / deviation + shift) @ out


for step in range(4):
    chosen = torch.randint(0, len(inputs), (16,), generator=generator)
    loss = functional.cross_entropy(logits_of(inputs[chosen]), targets[chosen])
    for weight in weights:
        weight.grad = None
    loss.backward()
    rate = 0.1 if step < 2 else 0.01
    for weight in weights:
        assert weight.grad is not None
        weight.data += -rate * weight.grad
    print(f"loss {loss.item():.6f}, mean {running_mean.sum().item():.6f}")
