"""One redactor for every log and transcript: tokens and keys never leave the machine."""

from __future__ import annotations

import re

_SECRETS = (
    re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}\b"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}\b"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{16,}=*"),
    re.compile(r"(?i)(?<=api_key=)[^\s&\"']{8,}"),
    re.compile(r"(?i)(?<=token=)[^\s&\"']{8,}"),
)


def redact(words: str) -> str:
    """Replace everything that looks like a credential by `[secret]`."""
    for pattern in _SECRETS:
        words = pattern.sub("[secret]", words)
    return words
