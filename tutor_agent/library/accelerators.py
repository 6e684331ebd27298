"""Accelerators by name: what drivers report, and what people write (`4xA100-80G`, `8卡A800`)."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tutor_agent.core.contract import Contract
from tutor_agent.core.facts import Accelerator
from tutor_agent.core.resources import bundled

if TYPE_CHECKING:
    from collections.abc import Iterator

Link = Literal["none", "pcie", "nvlink", "hccs", "unknown"]


class Card(Contract):
    """One product of the catalogue."""

    id: str
    """Short name."""
    name: str
    """Product name."""
    vendor: Literal["nvidia", "amd", "ascend", "apple", "intel"]
    """Who made it."""
    keys: tuple[str, ...]
    """What it is called; variants by size or form share a key."""
    memory_gb: int
    """Size on the box."""
    memory_mib: int
    """Total as the driver's tool prints it."""
    form: Literal["", "pcie", "nvl"] = ""
    """Form that sets it apart from the first card of its key."""
    link: Link
    """How several of them are usually connected."""
    tflops: float | None = None
    """Dense bf16 peak, or fp16 where there is no bf16."""
    bandwidth_gbs: float | None = None
    """Memory bandwidth in GB/s."""
    bf16: bool
    """Whether it computes in bf16."""
    capability: str | None = None
    """CUDA compute capability, or AMD's target."""
    source: str
    """Where the figures come from."""

    def accelerator(self) -> Accelerator:
        """Return the card as a fact about a machine."""
        return Accelerator(
            name=self.name,
            vendor=self.vendor,
            memory_gib=round(self.memory_mib / 1024, 2),
            capability=self.capability,
            bf16=self.bf16,
            tflops=self.tflops,
        )


class Mention(NamedTuple):
    """A card found in words."""

    card: Card
    accelerator: Accelerator
    number: int
    guessed: tuple[Card, ...]
    """Other cards of the same name, when the words do not say which."""


@functools.cache
def all_accelerators() -> tuple[Card, ...]:
    """Return the catalogue."""
    source = (bundled("knowledge") / "accelerators.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(source)["accelerators"]
    return tuple(Card.parse(row, f"accelerators.toml: {row.get('id')}") for row in rows)


def find_accelerator(name: str) -> Accelerator | None:
    """Return the accelerator called `name`: a product name or a short one."""
    mention = _find(name)
    return mention.accelerator if mention else None


def find_card(name: str) -> Card | None:
    """Return the catalogue's card called `name`."""
    mention = _find(name)
    return mention.card if mention else None


def parse_accelerators(words: str) -> tuple[Accelerator, ...]:
    """Return the accelerators of one machine as described in `words`; none when there are none."""
    return tuple(m.accelerator for m in mentions(words) for _ in range(m.number))


def mentions(words: str) -> Iterator[Mention]:
    """Yield each card named in `words` with its number."""
    for piece in re.split(r"[,，;；+、]|\band\b|\bplus\b|和|以及", _without_nodes(words)):
        count, rest = _count(piece)
        if mention := _find(rest):
            yield mention._replace(number=count)


def near_accelerators(words: str, limit: int = 5) -> list[str]:
    """Return the ids of cards that resemble a name in `words`."""
    names = {_compact(key): card.id for card in all_accelerators() for key in (*card.keys, card.id)}
    _, rest = _count(words)
    near = difflib.get_close_matches(_compact(rest), list(names), n=3 * limit, cutoff=0.4)
    return list(dict.fromkeys(names[key] for key in near))[:limit]


_NUMERALS = {
    **{word: i for i, word in enumerate("零一二三四五六七八九十")},
    "两": 2,
    "双": 2,
    "单": 1,
    "十六": 16,
    "single": 1,
    "one": 1,
    "two": 2,
    "dual": 2,
    "three": 3,
    "four": 4,
    "quad": 4,
    "six": 6,
    "eight": 8,
    "sixteen": 16,
}
_NUMBER = r"(\d{1,4}|十六|[一二两三四五六七八九十双单]|single|one|two|dual|three|four|quad|six|eight|sixteen)"
_COUNT = (
    re.compile(rf"{_NUMBER}\s*(?:卡|张|块|片|个|路|枚|gpus?\b|cards?\b|pcs\b)(?:的|\s|of)*", re.I),
    re.compile(rf"^\D{{0,12}}?\b{_NUMBER}\s*(?:[x×*✕]|\s)\s*(?=[a-z\d昇华])", re.I),
    re.compile(r"(?<=[\w\s])[x×*✕]\s*(\d{1,3})\s*(?:卡|张|块)?\s*$", re.I),
    re.compile(rf"^\s*{_NUMBER}(?=[a-z昇华])(?!g(?:i?b)?\b)", re.I),
    re.compile(r"([双单])(?=\s*[a-z\d])", re.I),
)
_NODES = re.compile(
    rf"{_NUMBER}\s*(?:台|个?节点|nodes?\b|machines?\b|servers?\b)\s*(?:[x×*,，]|每台|of)?", re.I
)
_MEMORY = re.compile(r"(?<![\d.])(\d{1,3})\s*(?:gib|gb|g)(?![a-z])", re.I)


def nodes_named(words: str) -> int:
    """Return how many machines `words` speak of."""
    match = _NODES.search(words)
    return _value(match[1]) if match else 1


def _without_nodes(words: str) -> str:
    return _NODES.sub(" ", words)


def _count(piece: str) -> tuple[int, str]:
    for pattern in _COUNT:
        match = pattern.search(piece)
        # A product number such as 3090 is never a number of cards.
        if match and 0 < _value(match[1]) <= 64:
            return _value(match[1]), piece[: match.start()] + " " + piece[match.end() :]
    return 1, piece


def _value(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() else _NUMERALS.get(word.lower(), 1)


def _find(words: str) -> Mention | None:
    keys = {key for card in all_accelerators() for key in (*card.keys, card.id)}
    found = [key for key in keys if _pattern(key).search(words)]
    if not found:
        return None
    key = max(found, key=lambda k: (len(_compact(k)), k))
    cards = [c for c in all_accelerators() if key in (*c.keys, c.id)]
    form = next((f for f in ("pcie", "nvl") if re.search(f"{f}(?!ink)", words, re.I)), "")
    cards = [c for c in cards if c.form == form] or [c for c in cards if not c.form] or cards
    stated = _MEMORY.search(
        _pattern(key).sub(" ", words) if key in {c.id for c in cards} else words
    )
    size = int(stated[1]) if stated else None
    same = [card for card in cards if size and abs(card.memory_gb - size) <= 2]
    card = (same or cards)[0]
    accelerator = card.accelerator()
    if size and not same:
        accelerator = accelerator.model_copy(update={"memory_gib": float(size)})
    sizes = {c.memory_gb for c in cards}
    guessed = tuple(cards[1:]) if size is None and key != card.id and len(sizes) > 1 else ()
    return Mention(card, accelerator, 1, guessed)


@functools.cache
def _pattern(key: str) -> re.Pattern[str]:
    pieces = re.findall(r"[A-Za-z]+|\d+", key)
    joined = r"[\s\-_]*".join(map(re.escape, pieces))
    return re.compile(rf"(?<![a-z\d.]){joined}s?(?![a-z\d])(?![\s\-_]*(?:ti|super)\b)", re.I)


def _compact(name: str) -> str:
    return re.sub(r"[^a-z\d]+", "", name.lower())
