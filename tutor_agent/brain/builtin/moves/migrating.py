"""Moves around an old training script: read it, say what breaks, lay its plan on the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.moves.planning import advance
from tutor_agent.brain.builtin.scene import bullets
from tutor_agent.brain.builtin.state import as_rows
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.brain.builtin.scene import Decision, Scene

_MOST = 10
_INPUTS = frozenset({"model", "model-name", "data"})


def migrate(scene: Scene) -> Decision:
    """Read the script that was named or pasted."""
    if scene.result("migrate_script") is not None:
        return _answer(scene, *_findings(scene, everything=True))
    reading = scene.reading
    if reading.script is None and reading.code is None:
        return scene.end(_WHICH_SCRIPT)
    return scene.use(
        "migrate_script",
        _READING,
        script=reading.script,
        code=reading.code,
        model=reading.model,
        data=reading.data,
        machine=reading.machine or scene.state.machine_words,
    )


def tell(scene: Scene) -> Decision:
    """Something was told: it may be what a script left open, else it leads to a plan."""
    waiting = scene.state.script
    if scene.result("migrate_script") is not None:
        return _answer(scene, *_findings(scene, everything=False))
    if waiting is None or not (scene.reading.model or scene.reading.data):
        return advance(scene)
    told = {"model": scene.reading.model, "data": scene.reading.data}
    given = {**waiting, **{key: value for key, value in told.items() if value is not None}}
    return scene.use("migrate_script", _READING, **given)


def _answer(scene: Scene, *findings: Text | str | None) -> Decision:
    data, summary = scene.data("migrate_script"), scene.summary("migrate_script")
    if not data:
        return scene.end(summary)
    warnings: list[str] = data.get("warnings") or []
    marked = [f"⚠ {warning}" for warning in warnings[:3]]
    return scene.end(summary, *findings, *marked, *_next(data))


def _findings(scene: Scene, *, everything: bool) -> list[Text | str | None]:
    """Say what was found; the second time only what the plan still waits for."""
    data = scene.data("migrate_script")
    found = as_rows(data.get("findings"))
    if not everything:
        waiting = [_line(scene, each) for each in found if each["kind"] in _INPUTS]
        return [bullets(waiting)] if waiting and not data.get("plan_name") else []
    lines = [_line(scene, each) for each in found[:_MOST]]
    left = int(data.get("findings_in_all") or 0) - len(lines)
    return [
        scene.say(_FOUND, bullets(lines)) if lines else _CLEAN,
        _MORE.format(count=left) if left > 0 else None,
    ]


def _line(scene: Scene, finding: dict[str, Any]) -> str:
    mark = _MARKS[finding["severity"]].pick(scene.language)
    words = _LINE.format(mark=mark, where=finding["where"], text=finding["text"])
    arrow = "" if finding["severity"] == "note" else f" → {finding['todo']}"
    return words.pick(scene.language) + arrow


def _next(data: dict[str, Any]) -> list[Text]:
    if data.get("plan_name"):
        return [_SAME, _START]
    needs: list[str] = data.get("needs") or []
    return [_NEEDS[need] for need in needs] or [_NOT_PRICED]


_READING = Text(
    en="I read the script; nothing in it is run.", zh="我来读这个脚本，不会运行其中任何代码。"
)
_WHICH_SCRIPT = Text(
    en="Which script? Give its path (`.py` or `.ipynb`), or paste it here.",
    zh="是哪个脚本？请写出路径（`.py` 或 `.ipynb`），或直接把代码贴过来。",
)
_MARKS = {
    "breaks": Text(en="breaks today", zh="现在会出错"),
    "wrong": Text(en="goes wrong silently", zh="不报错但结果不对"),
    "unwise": Text(en="unwise", zh="不妥"),
    "unknown": Text(en="cannot be read", zh="读不出来"),
    "note": Text(en="to know", zh="提示"),
}
_LINE = Text(en="**{mark}**, {where}: {text}", zh="**{mark}**，{where}：{text}")
_FOUND = Text(en="What I found:", zh="我看到的问题：")
_CLEAN = Text(en="Nothing in it breaks today.", zh="其中没有现在会出错的地方。")
_MORE = Text(
    en="… and {count} more: `tutor migrate` lists them all.",
    zh="……还有 {count} 条，可用 `tutor migrate` 查看全部。",
)
_SAME = Text(
    en="The plan does what the script does, with the script's values; where I would choose otherwise, the reason says so: ask "
    "*why 15 epochs*.",
    zh="计划与脚本做的事相同，沿用脚本里的取值；我的建议不同时，理由里都写明了，可以问“为什么是 15 轮”。",
)
_START = Text(
    en="Say *start* to run it, or change it first, such as *only 3 epochs*.",
    zh="说“启动”就开始，也可以先改，例如“只跑 3 轮”。",
)
_NEEDS = {
    "model": Text(
        en="The script does not tell which model it trains. Which one shall it be?",
        zh="脚本里看不出训练哪个模型。请告诉我用哪个？",
    ),
    "data": Text(
        en="The script does not tell which file it learns from. Where is it?",
        zh="脚本里看不出训练数据是哪个文件。请告诉我路径。",
    ),
}
_NOT_PRICED = Text(
    en="So the plan is not on the table yet. Name another data file or model, and I take it instead of the script's.",
    zh="因此计划还不能启动。换一个数据文件或模型告诉我，我就用它代替脚本里的。",
)
