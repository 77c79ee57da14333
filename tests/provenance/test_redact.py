"""Nothing that looks like a secret stays in arguments, and what decides about a training does."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic.provenance.redact import REDACTED, redacted

SECRETS = st.text(string.ascii_letters + string.digits, min_size=6, max_size=40).map(lambda text: f"q{text}Z9")
NAMES = st.sampled_from(
    [
        *("token", "hf-token", "HF_TOKEN", "hfToken", "wandb.api_key", "api-key", "apikey", "secret", "client_secret"),
        *("password", "db-passwd", "pw", "auth", "auth_token", "access-key", "AWS_SECRET_ACCESS_KEY", "private_key"),
        *("credentials", "session_cookie", "webhook", "dsn", "wandb_key", "PGPASSWORD", "dbpassword", "hftoken"),
        *("pass", "pat", "auth-key", "git.pat", "PASS", "creds"),
    ]
)
OPTIONS = [["--{name}", "{secret}"], ["-{name}", "{secret}"], ["--{name}={secret}"], ["{name}={secret}"]]
PLACES = st.sampled_from(
    [
        *OPTIONS,
        ["++logger.{name}={secret}"],
        ["--{name}=with a space,{secret};{secret}"],
        ['{{"{name}": "{secret}", "lr": 0.1}}'],
        ["logger={{{name}:{secret}}}"],
        ["https://user:{secret}@host/path"],
        ["postgres+psycopg://{secret}@host:5432/db"],
        ["https://host/a?{name}={secret}&epoch=1"],
        ["Authorization: Bearer {secret}"],
        ["--header", "Bearer {secret}"],
        ["--opts", "lr=1,{name}={secret},x=2"],
        ["--env={name}={secret}"],
        ["AccountName=a;{name}={secret};EndpointSuffix=b"],
        ['{{"{name}": ["{secret}"]}}'],
        ['{{"{name}": {{"a": "{secret}"}}}}'],
        ['{{"{name}": "a\\"{secret}"}}'],
        ["--proxy", "user:{secret}@host:8080"],
    ]
)


@given(NAMES, SECRETS, PLACES, st.lists(st.sampled_from(["train.py", "--lr", "0.1", "--use-auth"]), max_size=3))
def test_a_planted_secret_never_stays(name: str, secret: str, place: list[str], before: list[str]) -> None:
    words = [*before, *(word.format(name=name, secret=secret) for word in place)]
    assert secret not in " ".join(redacted(words))


@given(st.sampled_from(["key", "KEY", "Key"]), SECRETS, st.sampled_from(OPTIONS))
def test_so_does_that_of_an_option_that_is_called_key(name: str, secret: str, place: list[str]) -> None:
    assert secret not in " ".join(redacted(["train.py", *(word.format(name=name, secret=secret) for word in place)]))


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 11,
        "ghp_" + "aB3" * 12,
        "github_pat_11ABCDEFG0123456789",
        "glpat-abcdefgh12345678",
        "sk-proj-abcdef0123456789",
        "xoxb-1234567890-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "0123456789abcdef0123456789abcdef01234567",
        "aB3" * 10,
    ],
)
def test_a_secret_is_known_by_its_shape(secret: str) -> None:
    assert redacted(["train.py", secret, f"run/{secret}"]) == ["train.py", REDACTED, f"run/{REDACTED}"]


@pytest.mark.parametrize("part", ["a", "a.", "a=", "a:", "eyJ", "aB3", "0123456789abcdefABCDEFg", "a:b@", "a://"])
def test_a_long_argument_is_read_once(part: str) -> None:
    word = part * (100_000 // len(part))
    started = time.process_time()
    redacted([word])
    assert time.process_time() - started < 10, "looking to its end from each place took minutes"


HARMLESS = [
    *("--max_tokens", "512", "--pad-token", "<pad>", "--num-token=5", "--tokenizer", "gpt2", "--no-eos-token", "x"),
    *("Qwen2-VL-7B-Instruct-GPTQ-Int4", "ckpt/epoch=10-step=1000.ckpt", "--author", "me", "--key-dim", "64"),
    *("--revision", "0123456789abcdef0123456789abcdef01234567", f"model.revision={'a' * 40}", "s3://bucket/key/a.pt"),
    *(
        "optimizer=adamw",
        "model.layers=[1,2]",
        "https://example.org/a?epoch=1",
        "--image=repo:tag@sha256:0ab",
        "--use-auth",
        "--lr",
        "1e-4",
    ),
    *("-p", "8080", "-k", "not slow", "--keys", "image", '{"key": "image"}', "data.key=image", "--sort=key:name"),
]


def test_what_decides_about_a_training_stays() -> None:
    assert redacted(HARMLESS) == HARMLESS
