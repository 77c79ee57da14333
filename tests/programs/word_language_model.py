"""A language model of words: an LSTM, chunks of a corpus, an update by hand, a rate that falls with the held-out loss.

Of the kind of pytorch/examples' word_language_model.
"""

import torch
from torch import Tensor, nn

torch.set_num_threads(1)
torch.manual_seed(11)
TEXT = "the cat sat on the mat and the dog sat on the cat and the mat sat on nobody at all " * 4
WORDS = sorted(set(TEXT.split()))
CORPUS = torch.tensor([WORDS.index(word) for word in TEXT.split()])
Hidden = tuple[Tensor, Tensor]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 8)
        self.drop = nn.Dropout(0.2)
        self.lstm = nn.LSTM(8, 8, num_layers=2, dropout=0.2)
        self.decoder = nn.Linear(8, len(WORDS))
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, words: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        output, hidden = self.lstm(self.drop(self.embedding(words)), hidden)
        return self.decoder(self.drop(output)), hidden


def chunks(columns: Tensor, length: int = 5) -> list[tuple[Tensor, Tensor]]:
    return [(columns[i : i + length], columns[i + 1 : i + 1 + length]) for i in range(0, len(columns) - length, length)]


def loss_of(hidden: Hidden, words: Tensor, following: Tensor) -> tuple[Tensor, Hidden]:
    logits, hidden = model(words, hidden)
    return nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten()), hidden


model = Model()
kept = CORPUS[: len(CORPUS) // 4 * 4].view(4, -1).t().contiguous()
training, held_out = chunks(kept[:12]), chunks(kept[12:])
rate, best = 2.0, float("inf")
for _ in range(2):
    model.train()
    hidden = torch.zeros(2, 4, 8), torch.zeros(2, 4, 8)
    for words, following in training:
        model.zero_grad()
        loss, hidden = loss_of((hidden[0].detach(), hidden[1].detach()), words, following)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data.add_(parameter.grad, alpha=-rate)
    model.eval()
    with torch.no_grad():
        hidden = torch.zeros(2, 4, 8), torch.zeros(2, 4, 8)
        total = sum(loss_of(hidden, words, following)[0].item() for words, following in held_out)
    if total < best:
        best = total
    else:
        rate /= 4
    print(f"held out {total:.6f}, rate {rate}")
