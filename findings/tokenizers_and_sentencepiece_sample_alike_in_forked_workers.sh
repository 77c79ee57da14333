#!/usr/bin/env bash
# tokenizers 0.23.3 and sentencepiece 0.2.3 (torch 2.13.0, Python 3.11, Linux): subword regularization is the same in
# every worker of a DataLoader, and in every epoch again, once the tokenizer has encoded anything in the parent.
#
# BPE-dropout and unigram sampling are there to show a text in another segmentation each time. Each library draws from a
# generator of its own, seeded from the operating system when it is first used in a thread. A forked worker is a copy: if
# the parent has encoded one text before (to look at it, to count tokens, to size an embedding), all workers begin with
# the same state, and since the parent's does not move while they work, so do those of the next epoch. If it has not,
# each worker seeds its own, and all differ. torch.manual_seed has no effect on either.
# sentencepiece.set_random_generator_seed in worker_init_fn makes workers differ; tokenizers has no such function.
#
# What it prints, of 2 workers and 4 epochs with 4 texts a worker and epoch:
#   tokenizers: 32 segmentations, epochs of workers that are alike: none; after one use in the parent: all 8
#   sentencepiece: 32 segmentations, epochs of workers that are alike: none; after one use in the parent: all 8
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 \
    tokenizers==0.23.3 sentencepiece==0.2.3

cd "$work"
cat > program.py <<'PROGRAM'
import io
import sys

import sentencepiece
import tokenizers
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

TEXT = "the cat sat on the mat while a lower general hello lowest newer wider quick brown fox jumps over lazy dogs"
LINES = [TEXT] * 50


class Encoded(Dataset):
    def __init__(self, encode):
        self.encode = encode

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return get_worker_info().id, str(self.encode(3 * TEXT))


def bpe_dropout():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(dropout=0.5))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return lambda text: tokenizer.encode(text).ids


def unigram_sampling():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=model, vocab_size=40, minloglevel=2, hard_vocab_limit=False
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return lambda text: processor.encode(text, enable_sampling=True, alpha=0.1, nbest_size=-1)


def alike(encode):
    """Return how many of the epochs of workers show another segmented alike, of how many texts."""
    epochs = []
    for epoch in range(4):
        torch.manual_seed(epoch)
        by_worker = {0: [], 1: []}
        for worker, ids in DataLoader(
            Encoded(encode), batch_size=None, num_workers=2, multiprocessing_context="fork"
        ):
            by_worker[worker].append(ids)
        epochs += map(tuple, by_worker.values())
    return {8: "none", 1: "all 8"}.get(len(set(epochs)), "some"), sum(map(len, epochs))


found = []
for name, make in (("tokenizers", bpe_dropout), ("sentencepiece", unigram_sampling)):
    encode = make()
    before, texts = alike(encode)
    encode(TEXT)
    after, _ = alike(encode)
    found.append((before, after))
    print(
        f"{name}: {texts} segmentations, epochs of workers that are alike: {before}; "
        f"after one use in the parent: {after}"
    )
sys.exit(found != [("none", "all 8")] * 2)
PROGRAM
"$work/venv/bin/python" -W ignore program.py
