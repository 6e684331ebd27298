"""Knowledge cards: one thing known, in both languages, with its numbers and sources."""

from __future__ import annotations

import datetime
import difflib
import functools
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import field_validator

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, UnreadableError, UserError
from tutor_agent.core.frontmatter import split_frontmatter, split_languages
from tutor_agent.core.resources import bundled, config_dir
from tutor_agent.core.text import Language, Text

if TYPE_CHECKING:
    from pathlib import Path


class Phrases(Contract):
    """Words of people, in each language."""

    en: tuple[str, ...] = ()
    """English phrases."""
    zh: tuple[str, ...] = ()
    """Chinese phrases."""

    def pick(self, language: Language) -> tuple[str, ...]:
        """Return the phrases in `language`."""
        return self.zh if language == "zh" else self.en

    def every(self) -> tuple[str, ...]:
        """Return the phrases of both languages."""
        return self.en + self.zh


class Number(Contract):
    """One figure and where it comes from."""

    name: Text
    """What is counted or recommended."""
    value: str
    """The figure itself, readable in both languages."""
    source: Text
    """Who says so."""

    @field_validator("name", "source", mode="before")
    @classmethod
    def _plain(cls, given: object) -> object:
        return Text.same(given) if isinstance(given, str) else given


class Card(Contract):
    """One thing known: it answers a question, names its sources and points to its neighbours."""

    id: str
    """Name of the card, equal to its file name."""
    title: Text
    """What the card is about."""
    topics: tuple[str, ...]
    """Topics, the first one equal to the card's folder."""
    ask: Phrases
    """Typical questions; each of them must find this card first."""
    aliases: Phrases = Phrases()
    """Other words for the same thing: abbreviations, slang, error messages."""
    see: tuple[str, ...] = ()
    """Ids of the cards to read next."""
    numbers: tuple[Number, ...] = ()
    """Figures with their sources."""
    sources: tuple[Text, ...]
    """What the card rests on."""
    checked: datetime.date
    """Day on which the facts were last checked."""
    body: Text
    """The answer in Markdown; its first paragraph is the short answer."""

    @field_validator("sources", mode="before")
    @classmethod
    def _plain(cls, given: object) -> object:
        if not isinstance(given, (list, tuple)):
            return given
        return [Text.same(item) if isinstance(item, str) else item for item in given]  # pyright: ignore[reportUnknownVariableType]

    def short(self, language: Language) -> str:
        """Return the first paragraph: the short answer."""
        return self.body.pick(language).split("\n\n", 1)[0].strip()

    def long(self, language: Language) -> str:
        """Return everything after the short answer, empty when there is no more."""
        return self.body.pick(language).partition("\n\n")[2].strip()


@dataclass(frozen=True)
class _Shelf:
    """The cards of one folder, and what could not be read there."""

    cards: tuple[Card, ...]
    broken: tuple[Text, ...]


def load_cards() -> tuple[Card, ...]:
    """Return all cards, sorted by id; a person's own card replaces the bundled one of its id.

    Raises:
        UserError: A bundled card is broken.
    """
    return _all_cards(bundled("knowledge") / "cards", own_cards())


def own_cards() -> tuple[Card, ...]:
    """Return the cards of the person's configuration folder."""
    return _read_shelf(config_dir() / "cards", strict=False).cards


def broken_cards() -> tuple[Text, ...]:
    """Say which of the person's own cards could not be read, and why."""
    return _read_shelf(config_dir() / "cards", strict=False).broken


def find_card(card_id: str) -> Card:
    """Return the card named `card_id`.

    Raises:
        NotFoundError: There is no such card; the nearest ones are named.
    """
    cards = {card.id: card for card in load_cards()}
    if card_id in cards:
        return cards[card_id]
    near = difflib.get_close_matches(card_id, cards, n=3, cutoff=0.4)
    hint_en = f"Near ones: {', '.join(near)}." if near else "Ask a question in plain words instead."
    hint_zh = f"相近的有：{'、'.join(near)}。" if near else "可以直接用一句话提问。"
    raise NotFoundError(
        f"There is no card {card_id!r}. {hint_en}", f"没有名为 {card_id!r} 的知识卡片。{hint_zh}"
    )


def read_card(path: Path, sources: dict[str, Text] | None = None) -> Card:
    """Read one card; a source that is a key of `sources` is spelled out.

    Raises:
        UserError: The file is not a valid card.
    """
    head, body = split_frontmatter(path)
    card = Card.parse({**head, "body": split_languages(body, path)}, str(path))
    if card.id != path.stem:
        raise UnreadableError(
            f"{path}: the id {card.id!r} must equal the file name {path.stem!r}. Rename one of them.",
            f"{path}：id {card.id!r} 必须与文件名 {path.stem!r} 相同，请改其中之一。",
        )
    return _spell_out(card, sources or {})


def _spell_out(card: Card, sources: dict[str, Text]) -> Card:
    """Replace short names of sources by what they stand for."""
    numbers = tuple(
        number.model_copy(update={"source": sources.get(number.source.en, number.source)})
        for number in card.numbers
    )
    cited = tuple(sources.get(source.en, source) for source in card.sources)
    return card.model_copy(update={"numbers": numbers, "sources": cited})


@functools.lru_cache(maxsize=4)
def _all_cards(shipped: Path, own: tuple[Card, ...]) -> tuple[Card, ...]:
    replaced = {card.id for card in own}
    kept = [card for card in _read_shelf(shipped, strict=True).cards if card.id not in replaced]
    return tuple(sorted([*kept, *own], key=lambda card: card.id))


@functools.lru_cache(maxsize=8)
def _read_shelf(folder: Path, *, strict: bool) -> _Shelf:
    sources = _read_sources(bundled("knowledge") / "cards" / "sources.toml")
    cards: list[Card] = []
    broken: list[Text] = []
    for path in sorted(folder.rglob("*.md")):
        try:
            cards.append(read_card(path, sources))
        except UserError as error:
            if strict:
                raise
            broken.append(error.text)
    return _Shelf(tuple(cards), tuple(broken))


@functools.lru_cache(maxsize=1)
def _read_sources(path: Path) -> dict[str, Text]:
    """Read the short names that cards use for sources cited often."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {key: Text.model_validate(value) for key, value in table.items()}
