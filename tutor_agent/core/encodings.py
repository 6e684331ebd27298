"""Which encoding a text file has: UTF-8 with or without mark, GB18030, or UTF-16 with its mark."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, TextIO

from tutor_agent.core.errors import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

_PROBE_BYTES = 64 * 2**20
_CHUNK = 2**20
_UNDECODABLE = re.compile(r"[\udc80-\udcff]")
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "压缩包或 Excel 工作簿"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "旧版 Excel 工作簿"),
    (b"\x1f\x8b", "gzip-compressed", "gzip 压缩文件"),
    (b"%PDF", "a PDF document", "PDF 文档"),
)


def detect_encoding(path: Path) -> str:
    """Return `utf-8`, `utf-8-sig`, `gb18030` or `utf-16`.

    A file that is mostly UTF-8 with a few stray bytes counts as UTF-8: those lines are reported as
    broken. Read as GB18030 they would turn into plausible nonsense.

    Raises:
        UnreadableError: The file is not text.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
    _refuse_foreign(path, head)
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    valid, stray = _count(path, "utf-8")
    if not stray or valid > 4 * stray:
        return "utf-8"
    good, bad = _count(path, "gb18030")
    return "gb18030" if good > 20 * bad else "utf-8"


def open_text(path: Path, encoding: str) -> TextIO:
    """Open for reading with line ends kept; bytes that cannot be decoded become surrogates."""
    return path.open(encoding=encoding, errors="surrogateescape", newline="")


def has_stray_bytes(words: str) -> bool:
    """Return whether `words` holds bytes that could not be decoded."""
    return not words.isascii() and _UNDECODABLE.search(words) is not None


def _refuse_foreign(path: Path, head: bytes) -> None:
    for magic, english, chinese in _FOREIGN:
        if head.startswith(magic):
            raise UnreadableError(
                f"{path} is {english}, not a text table. Save it as CSV (UTF-8), JSONL or Parquet.",
                f"{path} 是{chinese}，不是文本表格。请另存为 CSV（UTF-8）、JSONL 或 Parquet。",
            )


def _count(path: Path, encoding: str) -> tuple[int, int]:
    """Return how many characters beyond ASCII decode, and how many bytes do not."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    valid = stray = seen = 0
    with path.open("rb") as stream:
        while seen < _PROBE_BYTES and (chunk := stream.read(_CHUNK)):
            seen += len(chunk)
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            words = decoder.decode(chunk)
            bad = len(_UNDECODABLE.findall(words))
            stray += bad
            valid += sum(1 for character in words if ord(character) > 127) - bad
    return valid, stray
