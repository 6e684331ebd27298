"""Moves that answer: from cards, from facts, about the tutor itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.scene import numbered
from tutor_agent.brain.builtin.state import Offer, as_rows
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.brain.builtin.scene import Decision, Scene


def ask(scene: Scene) -> Decision:
    """Answer a question from the cards; a bare number that nothing was offered for is no question."""
    if scene.reading.pick is not None:
        return scene.end(_NO_CHOICE, where_it_stands(scene))
    return answer_from_cards(scene)


def answer_from_cards(
    scene: Scene, before: Sequence[Text | str | None] = (), question: str | None = None
) -> Decision:
    """Quote the card that answers; below the confidence threshold offer the nearest topics."""
    done = scene.result("look_up")
    if done is None:
        return scene.use("look_up", question=question or scene.reading.said or scene.reading.words)
    if not done.ok:
        return scene.end(*before, done.summary)
    data = scene.data("look_up")
    cards: list[dict[str, Any]] = data.get("cards") or []
    if not cards:
        return scene.end(*before, _NO_CARD)
    if not data.get("sure"):
        titles = [str(card["title"]) for card in cards]
        return scene.end(*before, _DID_YOU_MEAN, numbered(titles), None if scene.once else _OR_ASK)
    return scene.end(*before, *quoted(scene, cards))


def quoted(scene: Scene, cards: list[dict[str, Any]]) -> list[Text | str | None]:
    """Quote the first card, name it, and point to its neighbours."""
    first = cards[0]
    if scene.once:
        return [str(first["answer"])]
    source = _FROM_CARD.format(card=first["card"])
    near = [str(card["title"]) for card in cards[1:] if card["share"] >= 0.5 * first["share"]]
    related = _RELATED.format(titles=_joined(scene, near)) if near else None
    return [str(first["answer"]), source, related]


def _joined(scene: Scene, titles: list[str]) -> str:
    return ("、" if scene.language == "zh" else ", ").join(titles)


def pick(scene: Scene) -> Decision | None:
    """Answer about the topic that was chosen; None when the choice was about the plan."""
    chosen = scene.turn.picked
    if chosen is None or chosen.slot != "topic":
        return None
    return answer_from_cards(scene, question=str(chosen.value))


def more(scene: Scene) -> Decision:
    """Say the rest of the card that was quoted last."""
    done = scene.result("look_up")
    if done is not None:
        rest = scene.data("look_up").get("more")
        return scene.end(str(rest)) if rest else scene.end(_NO_MORE)
    if scene.state.card is None:
        return scene.end(_MORE_OF_WHAT)
    return scene.use("look_up", question=scene.state.card)


def see_machine(scene: Scene) -> Decision:
    """Describe the machine."""
    done = scene.result("inspect_machine")
    if done is None:
        return scene.use("inspect_machine", machine=scene.reading.machine)
    warnings: list[str] = scene.data("inspect_machine").get("warnings") or []
    return scene.end(done.summary, *warnings)


def see_model(scene: Scene) -> Decision:
    """Describe a model."""
    done = scene.result("inspect_model")
    if done is None:
        return scene.use("inspect_model", model=scene.reading.model)
    return scene.end(done.summary)


def see_data(scene: Scene) -> Decision:
    """Describe a data file, and what is wrong in it."""
    done = scene.result("inspect_data")
    if done is None:
        return scene.use("inspect_data", path=scene.reading.data)
    problems = as_rows(scene.data("inspect_data").get("problems"))
    lines = [_at_line(scene, problem) for problem in problems[:5]]
    return scene.end(done.summary, "\n".join(lines), _TUNE_ON_IT if done.ok else None)


def _at_line(scene: Scene, problem: dict[str, Any]) -> str:
    line = problem.get("line")
    head = _LINE.format(line=line).pick(scene.language) if line else ""
    return f"- {head}{problem.get('text')}"


def list_files(scene: Scene) -> Decision:
    """List the data files."""
    done = scene.result("list_files")
    return scene.end(done.summary) if done else scene.use("list_files")


def check(scene: Scene) -> Decision:
    """Check the installation."""
    done = scene.result("check_installation")
    return scene.end(done.summary) if done else scene.use("check_installation")


def greet(scene: Scene) -> Decision:
    """Greet, and say where things stand."""
    return scene.end(_HELLO, where_it_stands(scene))


def thank(scene: Scene) -> Decision:
    """Answer thanks."""
    return scene.end(_WELCOME, where_it_stands(scene))


def decline(scene: Scene) -> Decision:
    """Leave what was offered."""
    return scene.end(_ALL_RIGHT)


def help_(scene: Scene) -> Decision:
    """Say what the tutor can do."""
    return scene.end(_HELP, where_it_stands(scene))


def where_it_stands(scene: Scene) -> Text | None:
    """Say what was last on the table."""
    state = scene.state
    if state.offer is Offer.apply or state.offer is Offer.repair:
        return _REPAIR_WAITS.format(run=state.run)
    if state.run:
        return _RUN_THERE.format(run=state.run)
    return _PLAN_READY.format(plan=state.plan_name) if state.plan else None


_NO_CARD = Text(
    en="I have no card on this, and I do not guess. Ask in other words, or paste the log or error.",
    zh="我没有这方面的资料，也不会乱猜。换个说法试试，或者把日志、报错贴给我。",
)
_NO_CHOICE = Text(
    en="Nothing is numbered right now: tell me in words what you would like.",
    zh="现在没有可选的编号，请用一句话告诉我想做什么。",
)
_DID_YOU_MEAN = Text(
    en="I am not sure which of these you mean:", zh="我不太确定你问的是哪一个，最接近的是："
)
_OR_ASK = Text(
    en="Answer with a number, or ask in other words.", zh="回复编号即可，也可以换个说法再问。"
)
_FROM_CARD = Text(
    en="(from the card `{card}`; say *more* for the rest)",
    zh="（来自知识卡片 `{card}`；说“详细说说”看全文）",
)
_RELATED = Text(en="Related: {titles}", zh="相关主题：{titles}")
_NO_MORE = Text(en="That was all the card says.", zh="这张卡片的内容就是这些。")
_MORE_OF_WHAT = Text(
    en="More of what? Ask a question first.", zh="想了解哪方面的更多内容？请先提个问题。"
)
_TUNE_ON_IT = Text(
    en="Shall the model learn from it? Say what it should learn, and I write a plan.",
    zh="要用它来训练吗？告诉我想让模型学会什么，我来制定计划。",
)
_LINE = Text(en="line {line}: ", zh="第 {line} 行：")
_HELLO = Text(
    en="Hello! I tune language models together with you: tell me what a model should learn and which data you have, "
    "or paste a training error.",
    zh="你好！我陪你一起微调大模型：告诉我想让模型学会什么、有什么数据，或者直接把训练报错贴给我。",
)
_WELCOME = Text(en="You are welcome.", zh="不客气。")
_ALL_RIGHT = Text(
    en="All right, nothing was done. What would you rather do?",
    zh="好的，什么都没有动。你想怎么做？",
)
_HELP = Text(
    en="I can\n\n"
    "- **plan**: *I have a CSV of support questions and want to tune a small model*\n"
    "- **change and explain the plan**: *lr 1e-5*, *only 20 steps*, *why this rank*\n"
    "- **run and watch**: *start*, *how is it going*, *stop*, *resume*\n"
    "- **diagnose and repair**: paste a log or traceback, *fix it*\n"
    "- **migrate**: *migrate old.py*, or paste an old training script\n"
    "- **prove**: *is it better?*\n"
    "- **compute**: *how much memory does a 7B need with LoRA?*\n"
    "- **explain**: any question about fine-tuning.",
    zh="我可以\n\n"
    "- **制定计划**：“我有一个客服问答的 CSV，想微调一个小模型”\n"
    "- **修改和解释计划**：“学习率调到 1e-5”“只跑 20 步”“为什么用这个 rank”\n"
    "- **启动并盯着训练**：“启动”“跑到哪了”“停止训练”“继续训练”\n"
    "- **诊断和修复**：把日志或报错贴给我，“修一下”\n"
    "- **迁移旧脚本**：“迁移 old.py”，或直接粘贴旧的训练脚本\n"
    "- **验证效果**：“效果怎么样”\n"
    "- **估算**：“7B 用 LoRA 要多少显存”\n"
    "- **讲解**：关于微调的任何问题。",
)
_REPAIR_WAITS = Text(
    en="The repair of {run} waits for your word.", zh="{run} 的修复方案还在等你确认。"
)
_RUN_THERE = Text(
    en="The latest run is {run}: ask how it is going.",
    zh="最近一次运行是 {run}，可以问“跑到哪了”。",
)
_PLAN_READY = Text(
    en="The plan {plan} is ready: say *start*.", zh="计划 {plan} 已经准备好，说“启动”即可。"
)
