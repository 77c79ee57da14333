#!/usr/bin/env bash
# sentencepiece 0.2.3 (Python 3.11): set_random_generator_seed(1) gives other numbers in every process.
#
# The function is there so that subword regularization can be reproduced. In 0.2.3 the same seed repeats the same
# segmentations within a process, also a second time, and gives others in the next process, with the same model file, the
# same text and one thread: a script that is started again does not repeat. In 0.2.1 it was the other way round: every
# process gave the same, and a second call in a process had no effect. So neither a seed that was published with 0.2.1
# nor any other can be used with 0.2.3; what is left is to encode once and save the ids.
#
# What it prints, of three processes:
#   0.2.1: a seed within a process: other numbers; across processes: the same
#   0.2.3: a seed within a process: the same; across processes: other numbers
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"

cd "$work"
cat > train.py <<'PROGRAM'
import sentencepiece

TEXT = "the cat sat on the mat while a lower general hello lowest newer wider quick brown fox jumps over lazy dogs"
with open("model", "wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 50), model_writer=file, vocab_size=40, minloglevel=2, hard_vocab_limit=False
    )
PROGRAM
cat > draw.py <<'PROGRAM'
import sentencepiece

processor = sentencepiece.SentencePieceProcessor(model_file="model")
for _ in range(2):
    sentencepiece.set_random_generator_seed(1)
    print(processor.encode("the quick brown fox " * 9, enable_sampling=True, alpha=0.1, nbest_size=-1))
PROGRAM

for version in 0.2.1 0.2.3; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check sentencepiece==$version
    [ -e model ] || "$work/venv/bin/python" train.py
    for process in 1 2 3; do
        "$work/venv/bin/python" draw.py > "$version.$process"
    done
    within="other numbers" across="other numbers"
    [ "$(sort -u "$version.1" | wc -l)" = 1 ] && within="the same"
    cmp -s "$version.1" "$version.2" && cmp -s "$version.1" "$version.3" && across="the same"
    echo "$version: a seed within a process: $within; across processes: $across"
done | tee said
printf '%s\n' "0.2.1: a seed within a process: other numbers; across processes: the same" \
    "0.2.3: a seed within a process: the same; across processes: other numbers" | cmp - said
