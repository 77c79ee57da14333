"""Tokenizers, embeddings and text."""

from __future__ import annotations

import importlib
import io
from typing import Any

import torch

from .row import Seed, row

KIND = "Text"
TEXT = "the cat sat on the mat while a lower general hello lowest newer wider quick brown fox jumps over lazy dogs"
WORDS = TEXT.split()
LINES = [" ".join(WORDS[place % 7 :: 1 + place % 3]) for place in range(60)]


@row(
    KIND,
    "tokenizers",
    "tokenizers",
    "BPE(dropout=0.5), encode",
    remedy="`dropout=None`: there is no seed; or encode once and save",
    loader="sample",
)
def tokenizers_dropout(lib: Any, seed: Seed) -> Any:
    model = lib.Tokenizer(lib.models.BPE(dropout=0.5))
    model.train_from_iterator(LINES, lib.trainers.BpeTrainer(vocab_size=100, show_progress=False))

    def call() -> Any:
        model.model.dropout = 0.5 if seed() is None else None
        return [model.encode(3 * TEXT).ids for _ in range(4)]

    return call


@row(KIND, "tokenizers", "tokenizers", "train_from_iterator(lines, BpeTrainer())")
def tokenizers_train_bpe(lib: Any, seed: Seed) -> Any:
    return lambda: trained(lib, lib.models.BPE(), lib.trainers.BpeTrainer(vocab_size=60, show_progress=False))


@row(
    KIND,
    "tokenizers",
    "tokenizers",
    "train_from_iterator(lines, WordPieceTrainer())",
    remedy="train once and save, or take BPE, as was tried",
)
def tokenizers_train_wordpiece(lib: Any, seed: Seed) -> Any:
    if seed() is not None:
        return tokenizers_train_bpe(lib, seed)
    trainer = lib.trainers.WordPieceTrainer(vocab_size=60, show_progress=False)
    return lambda: trained(lib, lib.models.WordPiece(), trainer)


@row(
    KIND,
    "tokenizers",
    "tokenizers",
    "train_from_iterator(lines, UnigramTrainer())",
    remedy="train once and save, or take BPE, as was tried",
)
def tokenizers_train_unigram(lib: Any, seed: Seed) -> Any:
    if seed() is not None:
        return tokenizers_train_bpe(lib, seed)
    trainer = lib.trainers.UnigramTrainer(vocab_size=60, show_progress=False)
    return lambda: trained(lib, lib.models.Unigram(), trainer)


def trained(lib: Any, model: Any, trainer: Any) -> list[str]:
    """Return the words in the order of their numbers."""
    tokenizer = lib.Tokenizer(model)
    tokenizer.pre_tokenizer = lib.pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(LINES, trainer)
    found = tokenizer.get_vocab()
    return sorted(found, key=found.__getitem__)


@row(
    KIND,
    "sentencepiece",
    "sentencepiece",
    "encode(text, enable_sampling=True)",
    remedy="encode without sampling, or once, and save: the library's own seed is another in each process",
    loader="sample",
)
def sentencepiece_sampling(lib: Any, seed: Seed) -> Any:
    model = io.BytesIO()
    lib.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=model, vocab_size=40, minloglevel=2, hard_vocab_limit=False
    )
    processor = lib.SentencePieceProcessor(model_proto=model.getvalue())
    return lambda: processor.encode(TEXT, enable_sampling=seed() is None, alpha=0.1, nbest_size=-1)


@row(
    KIND,
    "sentencepiece",
    "sentencepiece",
    "set_random_generator_seed(1), then encode(text, enable_sampling=True)",
    remedy="the same",
)
def sentencepiece_seeded(lib: Any, seed: Seed) -> Any:
    encode = sentencepiece_sampling(lib, seed)

    def call() -> Any:
        lib.set_random_generator_seed(1)
        return encode()

    return call


@row(KIND, "gensim", "gensim.models", "Word2Vec(lines, vector_size=8, workers=1)")
def gensim_word2vec(lib: Any, seed: Seed) -> Any:
    lines = [line.split() for line in LINES]
    return lambda: lib.Word2Vec(lines, vector_size=8, min_count=1, workers=1, epochs=2).wv["cat"]


@row(KIND, "gensim", "gensim.models", "LdaModel(corpus, num_topics=3)")
def gensim_lda(lib: Any, seed: Seed) -> Any:
    corpus = [[(place % 9, 1 + place % 2), ((place + 4) % 9, 1)] for place in range(30)]
    names = {place: str(place) for place in range(9)}
    return lambda: lib.LdaModel(corpus, num_topics=3, id2word=names).get_topics()


@row(
    KIND,
    "gensim",
    "gensim.models",
    "LsiModel(corpus, num_topics=3)",
    remedy="`random_seed=seed`",
)
def gensim_lsi(lib: Any, seed: Seed) -> Any:
    corpus = [[(place % 9, 1.0 + place % 2), ((place * 5 + 4) % 9, 1.0)] for place in range(200)]

    def call() -> Any:
        chosen = seed()
        more = {} if chosen is None else {"random_seed": chosen}
        return lib.LsiModel(
            corpus, num_topics=3, id2word={place: str(place) for place in range(9)}, **more
        ).projection.u

    return call


@row(KIND, "transformers", "transformers", "GPT2LMHeadModel(tiny).generate(do_sample=True)")
def transformers_generate(lib: Any, seed: Seed) -> Any:
    settings = lib.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=50, bos_token_id=0, eos_token_id=49)

    def call() -> Any:
        model = lib.GPT2LMHeadModel(settings).eval()
        return model.generate(torch.tensor([[1, 2]]), do_sample=True, max_new_tokens=6, pad_token_id=0)

    return call


@row(KIND, "transformers", "transformers", "DataCollatorForLanguageModeling(mlm=True)", loader="sample")
def transformers_masking(lib: Any, seed: Seed) -> Any:
    tokenizers = importlib.import_module("tokenizers")
    words = {word: number for number, word in enumerate(["[PAD]", "[MASK]", "[UNK]", *dict.fromkeys(WORDS)])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    known = lib.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", mask_token="[MASK]")
    collate = lib.DataCollatorForLanguageModeling(known, mlm=True, mlm_probability=0.5)
    return lambda: collate([{"input_ids": list(range(3, 20))}])["labels"]


@row(KIND, "Faker", "faker", "Faker().name()", remedy="`Faker().seed_instance(seed)`", loader="sample")
def faker_name(lib: Any, seed: Seed) -> Any:
    made = lib.Faker()

    def call() -> Any:
        if (chosen := seed()) is not None:
            made.seed_instance(chosen)
        return [made.name() for _ in range(3)]

    return call


@row(KIND, "Python", "builtins", "iteration over a set of strings", remedy="`sorted(words)`", loader="sample")
def set_order(lib: Any, seed: Seed) -> Any:
    return lambda: list(set(WORDS)) if seed() is None else sorted(set(WORDS))
