#!/usr/bin/env bash
# tokenizers 0.23.3 (Python 3.11): two WordPiece trainings on the same text number the same tokens differently.
#
# The characters that go on within a word (##a, ##t, ...) get their ids in the order of a hash table, which is another one
# in each training, also within one process and with one thread. There is no seed. With a text of some size other ties
# follow, so the vocabularies differ, too. A model that was trained with one of the two reads other words through the
# other, and no error says so: the tokenizer is to be saved with the model. The BPE trainer gives the same each time.
#
# What it prints, of six trainings on the same three lines:
#   WordPiece: the same tokens, more than one numbering; "dogs" is encoded in more than one way
#   BPE: the same tokens, one numbering; "dogs" is encoded in one way
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

cd "$work"
TOKENIZERS_PARALLELISM=false "$work/venv/bin/python" - <<'PROGRAM' | tee said
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = ["the cat sat on the mat and the dog sat on the log", "a cat and a dog ran to the mat", "dogs and cats sit"]


def trained(model, trainer):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def number(found, what):
    return f"one {what}" if found == 1 else f"more than one {what}"


for name, make in {
    "WordPiece": lambda: trained(
        models.WordPiece(unk_token="?"), trainers.WordPieceTrainer(vocab_size=40, show_progress=False)
    ),
    "BPE": lambda: trained(models.BPE(), trainers.BpeTrainer(vocab_size=40, show_progress=False)),
}.items():
    made = [make() for _ in range(6)]
    tokens = {tuple(sorted(one.get_vocab())) for one in made}
    numberings = {tuple(sorted(one.get_vocab().items())) for one in made}
    encodings = {tuple(one.encode("dogs").ids) for one in made}
    same = "the same tokens" if len(tokens) == 1 else "other tokens"
    way = number(len(encodings), "way")
    print(f'{name}: {same}, {number(len(numberings), "numbering")}; "dogs" is encoded in {way}')
PROGRAM
cmp - said <<'EXPECTED'
WordPiece: the same tokens, more than one numbering; "dogs" is encoded in more than one way
BPE: the same tokens, one numbering; "dogs" is encoded in one way
EXPECTED
