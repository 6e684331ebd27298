"""Tools that know: the cards, and the state of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.actions import check as checking
from tutor_agent.actions import look_up as looking_up
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text
from tutor_agent.library.search import is_sure

if TYPE_CHECKING:
    from tutor_agent.library.search import Hit

_SHOWN = 3


class LookUp(Contract):
    """Arguments of `look_up`."""

    question: str
    """The question in the person's words."""


class CheckInstallation(Contract):
    """Arguments of `check_installation`: none."""


def _look_up(desk: Desk, arguments: LookUp) -> ToolResult:
    hits = looking_up.look_up(arguments.question, _SHOWN)
    language, sure = desk.context.language, is_sure(hits)
    rows = [
        {
            "card": hit.card.id,
            "title": hit.card.title.pick(language),
            "share": round(hit.share, 3),
            "answer": hit.card.short(language),
        }
        for hit in hits
    ]
    data = {"sure": sure, "cards": rows, "more": _more(hits, desk) if sure else ""}
    return ToolResult(data, hits, _say_hits(hits, sure=sure))


def _more(hits: list[Hit], desk: Desk) -> str:
    return hits[0].card.long(desk.context.language) if hits else ""


def _say_hits(hits: list[Hit], *, sure: bool) -> Text:
    if not hits:
        return Text(en="No card is near.", zh="没有相近的知识卡片。")
    if sure:
        return hits[0].card.title
    titles = [hit.card.title for hit in hits]
    return Text(
        en="Near topics: " + ", ".join(t.en for t in titles) + ".",
        zh="相近的主题：" + "、".join(t.zh for t in titles) + "。",
    )


def _check_installation(desk: Desk, arguments: CheckInstallation) -> ToolResult:
    del arguments
    items = checking.check_installation(desk.context)
    bad = [item for item in items if not item.good]
    summary = (
        Text(en="This installation is sound.", zh="安装没有问题。")
        if not bad
        else Text(
            en="Trouble: " + "; ".join(f"{i.name}: {i.detail.en}" for i in bad) + ".",
            zh="有问题：" + "；".join(f"{i.name}：{i.detail.zh}" for i in bad) + "。",
        )
    )
    data = {"items": [plain(item, desk.context.language) for item in items]}
    return ToolResult(data, items, summary)


KNOWING = (
    Tool(
        name="look_up",
        title=Text(en="Look it up", zh="查资料"),
        description="Search the tutor's knowledge cards; answers rest on these and name the card.",
        parameters=LookUp,
        run=_look_up,
    ),
    Tool(
        name="check_installation",
        title=Text(en="Check the installation", zh="检查安装"),
        description="Whether packages, knowledge, skills and the cache of this installation are sound.",
        parameters=CheckInstallation,
        run=_check_installation,
    ),
)
