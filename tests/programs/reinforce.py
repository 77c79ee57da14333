"""REINFORCE: a policy learns to walk to the middle of a corridor, in an environment of its own.

Of the kind of pytorch/examples' reinforcement_learning.
"""

import random

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

torch.set_num_threads(1)
torch.manual_seed(13)


class Corridor:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def reset(self) -> Tensor:
        self.place, self.speed = self.random.uniform(-1, 1), 0.0
        return torch.tensor([self.place, self.speed])

    def step(self, action: int) -> tuple[Tensor, float]:
        self.speed += 0.1 if action else -0.1
        self.place += self.speed
        return torch.tensor([self.place, self.speed]), -abs(self.place)


policy = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
environment = Corridor(seed=13)
for _ in range(2):
    seen, chosen, rewards = environment.reset(), [], []
    for _ in range(6):
        choice = Categorical(logits=policy(seen))
        action = choice.sample()
        chosen.append(choice.log_prob(action))
        seen, reward = environment.step(int(action))
        rewards.append(reward)
    returns = torch.tensor([sum(0.9**i * reward for i, reward in enumerate(rewards[j:])) for j in range(6)])
    returns = (returns - returns.mean()) / (returns.std() + 1e-5)
    optimizer.zero_grad()
    loss = -(torch.stack(chosen) * returns).sum()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.6f}, return {sum(rewards):.6f}")
