"""Moves that lead to a plan: ask, look, recommend, change, give reasons, estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.reading import sizes
from tutor_agent.brain.builtin.scene import Call, Decision, Scene, bullets, numbered
from tutor_agent.brain.builtin.slots import smallest_ready_model
from tutor_agent.brain.builtin.state import (
    as_map,
    as_rows,
    file_options,
    question_now,
    question_options,
)
from tutor_agent.brain.wording import number
from tutor_agent.core.text import Text
from tutor_agent.library.accelerators import parse_accelerators
from tutor_agent.library.models import all_models, find_model, near_models

if TYPE_CHECKING:
    from tutor_agent.advise.interview import Question


def advance(scene: Scene) -> Decision:
    """Take the next step towards a plan: find the data, look, ask what matters, recommend."""
    for step in (_settled, _find_data, _look, _settle_model, _ask):
        decision = step(scene)
        if decision is not None:
            return decision
    return _make(scene)


def _settled(scene: Scene) -> Decision | None:
    made = scene.result("make_plan")
    if made is None:
        return None
    if not made.ok:
        return scene.end(made.summary, _TRY_OTHER)
    return scene.end(*recommendation(scene))


def _find_data(scene: Scene) -> Decision | None:
    state = scene.state
    failed = scene.result("inspect_data")
    if state.data_path is not None:
        return None
    if failed is not None and not failed.ok:
        return scene.end(failed.summary, _WHICH_FILE)
    if scene.result("list_files") is None and "list_files" in scene.tools:
        return scene.use("list_files", _LOOK_FOR_DATA)
    files = state.files or ()
    if len(files) == 1:
        return scene.use("inspect_data", _ONE_FILE.format(file=files[0]), path=files[0])
    if files:
        labels = [option.label for option in file_options(state)]
        return scene.end(_SEVERAL_FILES, numbered(labels), _OR_NAME_FILE)
    return scene.end(_NO_FILES)


def _look(scene: Scene) -> Decision | None:
    """Look at whatever the plan depends on and has not been seen: data, machine, model, all at once."""
    state = scene.state
    calls: list[Call] = []
    if state.data is None and scene.result("inspect_data") is None:
        calls.append(Call("inspect_data", {"path": state.data_path}))
    if state.machine is None and scene.result("inspect_machine") is None:
        words = state.machine_words
        calls.append(Call("inspect_machine", {"machine": words} if words else {}))
    if state.model_name and state.model is None and scene.result("inspect_model") is None:
        calls.append(Call("inspect_model", {"model": state.model_name}))
    calls = [call for call in calls if call.tool in scene.tools]
    if calls:
        return Decision(scene.say(_LOOKING), tuple(calls))
    failed = [
        r for r in scene.turn.results if not r.ok and r.tool in {"inspect_machine", "inspect_model"}
    ]
    return scene.end(*(result.summary for result in failed), _TRY_OTHER) if failed else None


def _settle_model(scene: Scene) -> Decision | None:
    """A family was named and not one of its models: offer its members."""
    state = scene.state
    if state.unclear is None or state.model_name is not None:
        return None
    near = near_models(state.unclear)
    if not near:
        return scene.end(_UNKNOWN_MODEL.format(name=state.unclear))
    return scene.end(
        _WHICH_MODEL.format(name=state.unclear), bullets([f"`{name}`" for name in near])
    )


def _ask(scene: Scene) -> Decision | None:
    question = question_now(scene.state)
    if question is None or (question.slot == "model" and scene.state.model_name):
        return None
    return scene.end(*_question(scene, question))


def _question(scene: Scene, question: Question) -> list[Text | str]:
    options = question_options(scene.state, question)
    lines: list[str] = []
    for option, choice in zip(options, question.choices, strict=True):
        effect = f" — {choice.effect.pick(scene.language)}" if choice.effect else ""
        lines.append(f"{option.label}{effect}")
    return [question.text, numbered(lines)] if lines else [question.text]


def _make(scene: Scene) -> Decision:
    state, goal = scene.state, scene.state.goal
    model = state.model_name or smallest_ready_model()
    note = None if state.model_name else _ASSUMED_MODEL.format(model=model)
    decided = [change.model_dump(mode="json") for change in _decided(scene)]
    return scene.use(
        "make_plan",
        note,
        model=model,
        data=state.data_path,
        task=goal.task,
        domain=goal.domain,
        wish=goal.wish if "wish" in goal.model_fields_set else None,
        skill=goal.skill,
        max_hours=goal.max_hours,
        machine=state.machine_words,
        name=state.plan_name if state.plan else None,
        change=decided or None,
    )


def _decided(scene: Scene) -> list[Any]:
    """Return the fields the person fixed; the skill goes with the goal, factors need a plan first."""
    return [c for c in scene.state.decided.values() if c.path != "skill" and c.op == "set"]


def recommendation(scene: Scene) -> list[Text | str | None]:
    """Say what is recommended, why, what was weighed against it, and what comes next."""
    data = scene.data("make_plan") or scene.data("change_plan")
    reasons, weighed = as_map(data.get("reasons")), as_rows(data.get("weighed"))
    chosen = next((c for c in weighed if c["recommended"]), None)
    title = chosen["title"] if chosen else as_map(data.get("plan")).get("skill", "")
    colon = "：" if scene.language == "zh" else ": "
    others = [f"{c['title']}{colon}{c['verdict']}" for c in weighed if not c["recommended"]]
    said: list[str] = data.get("warnings") or []
    warnings = [f"⚠ {warning}" for warning in said]
    fits = as_map(data.get("forecast")).get("fits")
    return [
        _RECOMMEND.format(title=title, reason=reasons.get("skill", "")),
        scene.say(_WEIGHED, bullets(others)) if others else None,
        *warnings,
        _DOES_NOT_FIT if fits == "no" else _NEXT,
    ]


def change(scene: Scene) -> Decision:
    """Change the plan, or keep the wish for the plan that is to come."""
    state = scene.state
    if state.plan is None:
        return advance(scene) if state.tuning or state.data_path else scene.end(_NOTED, _NEED_DATA)
    if scene.result("make_plan") is not None:
        return advance(scene)
    changed = scene.result("change_plan")
    if changed is not None:
        return scene.end(changed.summary, _CHANGED if changed.ok else None)
    if state.stale:
        return advance(scene)
    entries = [entry.model_dump(mode="json") for entry in scene.reading.changes]
    return scene.use("change_plan", plan=state.plan_name, change=entries)


def why(scene: Scene) -> Decision:
    """Give the reason of a plan field, or why a strategy was not taken."""
    field = scene.reading.plan_field or "skill"
    weighed = _weighed(scene)
    if field == "skill" and weighed is not None:
        return scene.end(*weighed)
    explained = scene.result("explain_choice")
    if explained is None:
        run = None if scene.state.plan else scene.state.run
        return scene.use("explain_choice", field=field, plan=scene.state.plan_name, run=run)
    if not explained.ok:
        looked = scene.result("look_up")
        if looked is None:
            return scene.use("look_up", question=scene.reading.said)
        return scene.end(explained.summary, looked.summary)
    data = as_map(explained.data)
    source, alternative = data.get("source"), data.get("alternative")
    return scene.end(
        f"**{data.get('field')} = {data.get('value')}**",
        str(data.get("reason", "")),
        _SOURCE.format(source=source) if source else None,
        _ALTERNATIVE.format(text=alternative) if alternative else None,
        _CARD.format(card=data["card"]) if data.get("card") else None,
        _SAY_SO if data.get("assumed") else None,
    )


def _weighed(scene: Scene) -> list[Text | str] | None:
    """The verdict on a strategy that was weighed and not taken."""
    plan = scene.state.plan
    wanted = scene.reading.skill
    if plan is None or wanted is None or as_map(plan.get("plan")).get("skill") == wanted:
        return None
    for candidate in as_rows(plan.get("weighed")):
        if candidate["skill"] == wanted:
            head = _WEIGHED_ONE.format(
                title=candidate["title"],
                peak=number(candidate["peak_gib"]),
                verdict=candidate["verdict"],
            )
            return [head, _CAN_SWITCH.format(title=candidate["title"])]
    return None


def estimate(scene: Scene) -> Decision:
    """Work out memory and time instead of quoting them."""
    done = scene.result("estimate")
    if done is not None:
        return scene.end(done.summary, _basis(scene) if done.ok else None)
    model = _model_in_question(scene)
    if model is None:
        if scene.state.plan is None:
            return scene.use("look_up", question=scene.reading.said)
        return scene.end(_plan_price(scene), _NEXT)
    return scene.use("estimate", model=model, **_configuration(scene))


def _model_in_question(scene: Scene) -> str | None:
    reading = scene.reading
    if reading.model:
        return reading.model
    size = sizes(reading.said)
    found = find_model(f"{reading.unclear or 'deepseek'} {size}") if size else None
    found = found or (_of_size(size) if size else None)
    if found is not None:
        return found.id
    asks_for_other = reading.skill or reading.machine
    return scene.state.model_name if asks_for_other else None


def _of_size(size: str) -> Any:
    """Return the catalogue's dense model nearest to a bare size."""
    wanted = float(size.rstrip("b")) * 1e9
    dense = [m for m in all_models() if m.facts.shape.experts is None]
    nearest = min(dense, key=lambda m: abs(m.facts.parameters.total - wanted), default=None)
    close = nearest and abs(nearest.facts.parameters.total - wanted) < 0.2 * wanted
    return nearest if close else None


def _configuration(scene: Scene) -> dict[str, Any]:
    reading = scene.reading
    skill = reading.skill or "lora"
    given = {entry.path: entry.value for entry in reading.changes if entry.op == "set"}
    machine = reading.machine or scene.state.machine_words
    count = len(parse_accelerators(machine)) if machine else 1
    return {
        "skill": skill,
        "machine": machine,
        "processes": count if count > 1 else None,
        "sharding": given.get("launch.sharding") or ("fsdp2" if count > 1 else None),
        "precision": given.get("model.dtype"),
        "optimizer": given.get("optim.optimizer"),
        "max_length": given.get("data.max_length"),
        "micro_batch": given.get("optim.micro_batch"),
    }


def _basis(scene: Scene) -> Text:
    asked = as_map(scene.data("estimate").get("request"))
    return _BASIS.format(
        model=asked.get("model"),
        skill=asked.get("skill"),
        precision=asked.get("precision"),
        length=asked.get("max_length"),
        batch=asked.get("micro_batch"),
        optimizer=asked.get("optimizer"),
    )


def _plan_price(scene: Scene) -> Text:
    price = as_map((scene.state.plan or {}).get("forecast"))
    peak, hours = as_map(price.get("peak_gib")), as_map(price.get("hours"))
    minutes = {key: float(hours.get(key) or 0) * 60 for key in ("low", "expected", "high")}
    return _PLAN_PRICE.format(
        name=scene.state.plan_name,
        peak=number(peak.get("expected")),
        high=number(peak.get("high")),
        minutes=number(minutes["expected"]),
        low=number(minutes["low"]),
        most=number(minutes["high"]),
    )


_LOOK_FOR_DATA = Text(
    en="Let me see which data files are here.", zh="我先看看工作区里有哪些数据文件。"
)
_ONE_FILE = Text(
    en="I found one data file, `{file}`, and take it to be the one you mean.",
    zh="我找到了一个数据文件 `{file}`，先按它来。",
)
_SEVERAL_FILES = Text(
    en="Which of these files shall the model learn from?", zh="用哪个文件来训练？"
)
_OR_NAME_FILE = Text(
    en="Answer with a number, or name another file.", zh="回复编号即可，也可以写出别的文件路径。"
)
_NO_FILES = Text(
    en="I find no data file in this workspace. Where is it? Give its path, or type @ to choose. CSV, JSONL, JSON "
    "and Parquet work; a question column and an answer column are enough.",
    zh="工作区里没有找到数据文件。请告诉我文件路径，或输入 @ 来选择。CSV、JSONL、JSON、Parquet 都可以，有“问题”和“回答”两列就够了。",
)
_WHICH_FILE = Text(en="Which file shall I take instead?", zh="请告诉我应该用哪个文件。")
_LOOKING = Text(en="Let me look at what is here.", zh="我先看看现有的条件。")
_TRY_OTHER = Text(en="Tell me what to change and I try again.", zh="请告诉我怎么调整，我再试一次。")
_UNKNOWN_MODEL = Text(
    en="I do not know which model {name!r} is. Give its full id (owner/name) or a local folder.",
    zh="我不确定 {name!r} 是哪个模型。请给出完整的模型名（owner/name）或本地文件夹。",
)
_WHICH_MODEL = Text(
    en="Which {name} do you mean? For example:", zh="{name} 有好几个，你想用哪个？例如："
)
_ASSUMED_MODEL = Text(
    en="You named no model, so I take {model}: small, and ready without a download from a hub. Name another at any time.",
    zh="你没有指定模型，我先用 {model}：它很小，不用从模型站下载就能试。随时可以换成别的。",
)
_RECOMMEND = Text(en="I recommend **{title}**. {reason}", zh="我建议用 **{title}**。{reason}")
_WEIGHED = Text(en="Also weighed:", zh="同时比较过：")
_NEXT = Text(
    en="Say *start* to run it (I ask once more before anything begins), tell me what to change, such as "
    "*lr 1e-5* or *only 20 steps*, or ask *why this rank*.",
    zh="说“启动”就开始（动手前会再请你确认）；想改哪里直接说，例如“学习率调到 1e-5”“只跑 20 步”；想知道理由就问“为什么用这个 rank”。",
)
_DOES_NOT_FIT = Text(
    en="This does not fit the machine, so I do not advise to start it. A smaller model, a shorter length or another "
    "machine would help: tell me which.",
    zh="这台机器放不下这个计划，不建议启动。可以换更小的模型、缩短长度或换一台机器，请告诉我怎么调。",
)
_NOTED = Text(en="Noted: I will use that in the plan.", zh="记下了，制定计划时会用上。")
_NEED_DATA = Text(
    en="There is no plan yet. Tell me which data file you have and what the model should learn.",
    zh="现在还没有计划。请告诉我数据文件在哪里、想让模型学会什么。",
)
_CHANGED = Text(en="Say *start* when it is right.", zh="没问题的话，说“启动”即可。")
_SOURCE = Text(en="Source: {source}", zh="依据：{source}")
_ALTERNATIVE = Text(en="Alternative: {text}", zh="另一种选择：{text}")
_CARD = Text(en="More in the card `{card}`.", zh="详见知识卡片 `{card}`。")
_SAY_SO = Text(
    en="Nobody asked for this value: a word from you changes it.",
    zh="这个值是我替你假定的，说一声就改。",
)
_WEIGHED_ONE = Text(
    en="**{title}** was weighed too (peak about {peak} GiB): {verdict}",
    zh="**{title}** 也比较过（峰值约 {peak} GiB）：{verdict}",
)
_CAN_SWITCH = Text(
    en="If you prefer it all the same, say *use {title}*.", zh="如果你还是想用，说“用{title}”就行。"
)
_BASIS = Text(
    en="Worked out for {model}, {skill}, {precision}, {batch} × {length} tokens, {optimizer}, gradient checkpointing "
    "on. Name another length, batch or machine and I compute it anew.",
    zh="以上按 {model}、{skill}、{precision}、{batch} × {length} token、{optimizer}、开启梯度检查点计算。换长度、批大小或机器，我可以重新算。",
)
_PLAN_PRICE = Text(
    en="Plan {name}: peak about {peak} GiB per device (up to {high}), about {minutes} min ({low} to {most}).",
    zh="计划 {name}：每设备峰值约 {peak} GiB（最多 {high}），大约 {minutes} 分钟（{low} 到 {most}）。",
)
