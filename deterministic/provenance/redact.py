"""What looks like a secret is taken out of texts that others write: arguments, and variables of the environment.

By name (`--api-key X`, `token=X`, `"password": "X"`), by place (`https://user:X@host`), and by shape: what GitHub, AWS,
Hugging Face and others hand out, and long runs of mixed letters and digits, or of hexadecimal ones. In doubt it goes.
`key` is one as an option alone (`--key X`), since in a text it is a column; `-p` and `-k` stay, a port and a filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "<redacted>"

_SECRET = re.compile(
    r"""(?x) (?:^|_) (?: secrets? | passw(?:or)?d | pass(?:phrase|code)? | pwd | pw | auth | authorization | bearer
    | jwt | credentials? | creds | cookies? | signature | sig | sas | pat | dsn | webhook
    | (?:api|access|private|secret|auth|ssh|encryption|signing|license|account|service|master|storage|subscription
       |wandb|comet|neptune|kaggle|openai|anthropic|hf|gh|github|aws|azure|gcp)_?keys? ) (?:_|$)
    | passw(?:or)?d | passphrase | (?:api|secret)_?key | (?:user|db|my)_?pass(?:_|$)"""
)
_TOKEN = re.compile(r"(?:^|_)(?:hf|hub|gh|git|api|auth|access|user|bot|my)?token(?:_|$)")
_OF_TEXT = re.compile(  # beside these words a token is a piece of a text
    r"""(?x) (?:^|_) (?: pad | mask | [bes]os | unk | cls | sep | class | special | image | audio | max | min | num | n
    | per | new | prompt | stop | start | end | dim | type | drop | dropout | len | length | size | position | loss
    ) (?:_|$)"""
)
_COMMIT = re.compile(r"(?:^|_)(?:rev|revision|commit|sha|sha1|sha256|md5|hash|digest|checksum)$")

# Each begins where a word does and looks no further than its end, so that a long argument is read once.
_NAMED = re.compile(r"""(?<![\w.-])([\w.-]+)["']?\s*(?:=|:(?!//))\s*""")
_VALUE = re.compile(r"""(?s)"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\[{].*|[^\s&"'}]+""")
_OPTION = re.compile(r"-*([A-Za-z][\w.-]*)=")
_USER = re.compile(
    r"""(?x) (?<![\w+.-]) ([\w+.-]+://) [^/\s?\#]*@
    | (?<![\w/.-]) [\w.-]+ : [^/\s?\#@:]+ @ (?=[\w.-]+:\d+(?:/|$))  # of a proxy"""
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+\S+")
_SHAPE = re.compile(
    r"""(?x) (?<![A-Za-z0-9]) (?:
        (?: gh[a-z]_ | github_pat_ | glpat- | hf_ | sk[-_] | [pr]k_live_ | xox[a-z]- | npm_ | pypi- | AKIA | ASIA | AIza
          | ya29\. | SG\. ) [\w.=-]{8,}
      | eyJ [\w=-]{8,} (?:\.[\w=-]*)*
      | [0-9a-fA-F]{32,}
      | (?=[A-Za-z+=]{0,99}[0-9]) (?=[0-9A-Z+=]{0,99}[a-z]) (?=[0-9a-z+=]{0,99}[A-Z]) [A-Za-z0-9+=]{24,}
    ) (?![A-Za-z0-9])"""
)


def redacted(words: Iterable[str]) -> list[str]:
    """Return the arguments of a program without what looks like a secret."""
    clean: list[str] = []
    before = ""
    for word in words:
        is_value = bool(before) and not word.startswith("--")
        if is_value and _has_secret(before):
            clean.append(REDACTED)
        else:
            clean.append(word if is_value and _COMMIT.search(_plain(before)) else redacted_text(word))
        before = word.lstrip("-") if word.startswith("-") and "=" not in word else ""
    return clean


def redacted_text(text: str) -> str:
    """Return a text without what looks like a secret."""
    whole = _OPTION.match(text)
    if whole and _has_secret(whole[1]):
        return f"{whole[0]}{REDACTED}"
    text = _BEARER.sub(rf"\1 {REDACTED}", _USER.sub(rf"\g<1>{REDACTED}@", text))
    text = _without_named(text)
    name, is_given, _ = text.partition("=")
    return text if is_given and _COMMIT.search(_plain(name)) else _SHAPE.sub(REDACTED, text)


def _without_named(text: str) -> str:
    """Return a text without the values of names that have a secret, also where those stand in another's value."""
    parts, done, at = [], 0, 0
    while found := _NAMED.search(text, at):
        at = found.end()
        if is_secret(found[1]) and (value := _VALUE.match(text, at)):
            parts += [text[done:at], REDACTED]
            done = at = value.end()
    return "".join([*parts, text[done:]])


def is_secret(name: str) -> bool:
    """Return whether an option, a variable or a key of this name has a secret."""
    name = _plain(name)
    return bool(_SECRET.search(name) or (_TOKEN.search(name) and not _OF_TEXT.search(name)))


def _has_secret(option: str) -> bool:
    return is_secret(option) or _plain(option) == "key"


def _plain(name: str) -> str:
    """Return a name with its words apart: that of "hfToken", "HF_TOKEN" and "hf-token" is "hf_token"."""
    return re.sub(r"[-.\s]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()
