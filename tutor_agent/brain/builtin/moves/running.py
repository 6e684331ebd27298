"""Moves around a run: start, watch, stop, resume, judge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.moves.planning import advance
from tutor_agent.brain.builtin.state import Offer, as_rows
from tutor_agent.brain.wording import number
from tutor_agent.core.text import Text
from tutor_agent.runs.measures import MetricChange
from tutor_agent.runs.report import metric_verdict

if TYPE_CHECKING:
    from tutor_agent.brain.builtin.scene import Decision, Scene


def start(scene: Scene) -> Decision:
    """Start the plan on the table; without one, make it first."""
    done = scene.result("start_run")
    if done is not None:
        return scene.end(done.summary, _WATCHING) if done.ok else _refused(scene, "start_run")
    state = scene.state
    if scene.result("make_plan") is not None or (state.plan and state.stale):
        return advance(scene)
    if state.plan is not None:
        return scene.use("start_run", plan=state.plan_name)
    if state.offer is Offer.resume:
        return resume(scene)
    if state.tuning or state.data_path:
        return advance(scene)
    return scene.end(_NOTHING_TO_START)


def _refused(scene: Scene, tool: str) -> Decision:
    result = scene.result(tool)
    if result is not None and result.outcome == "denied":
        return scene.end(_NOT_ALLOWED)
    return scene.end(result.summary if result else None)


def stop(scene: Scene) -> Decision:
    """Stop a run, with a checkpoint."""
    return _about_a_run(scene, "stop_run", _STOPPED)


def resume(scene: Scene) -> Decision:
    """Go on with a stopped, failed or lost run."""
    return _about_a_run(scene, "resume_run", _WATCHING)


def _about_a_run(scene: Scene, tool: str, after: Text) -> Decision:
    done = scene.result(tool)
    if done is None:
        return scene.use(tool, run=_named_run(scene))
    return scene.end(done.summary, after) if done.ok else _refused(scene, tool)


def _named_run(scene: Scene) -> str | None:
    return scene.reading.runs[0] if scene.reading.runs else scene.state.run


def status(scene: Scene) -> Decision:
    """Say where the run is, and what is wrong with it if something is."""
    shown = scene.result("show_run")
    if shown is None:
        return scene.use("show_run", run=_named_run(scene))
    if not shown.ok:
        return scene.end(shown.summary, _PLAN_WAITS if scene.state.plan else None)
    data = scene.data("show_run")
    return scene.end(shown.summary, *_troubles(scene, data), _next_step(scene, data))


def _troubles(scene: Scene, data: dict[str, Any]) -> list[Text | str]:
    findings = as_rows(data.get("findings"))
    said: list[Text | str] = []
    for finding in findings[:2]:
        evidence = " ".join(str(line) for line in finding.get("evidence", ())[:2])
        said.append(f"**{finding['title']}** {evidence}")
    return said


def _next_step(scene: Scene, data: dict[str, Any]) -> Text | None:
    if scene.state.offer is Offer.repair:
        return ASK_REPAIR
    if scene.state.offer is Offer.resume:
        return _ASK_RESUME
    return _ASK_RESULT if data.get("state") == "completed" else None


def result(scene: Scene) -> Decision:
    """Say whether the tuned model is better, from the held-out figures; when not, find out why."""
    shown = scene.result("show_run")
    if shown is None:
        return scene.use("show_run", run=_named_run(scene))
    if not shown.ok:
        return scene.end(shown.summary, _NO_RESULT)
    data = scene.data("show_run")
    before, after = data.get("held_out_before"), data.get("held_out_after")
    if before is None or after is None:
        return scene.end(_not_yet(data), shown.summary, _next_step(scene, data))
    verdict = _verdict(float(before), float(after))
    if after < before * 0.995:
        return scene.end(_repaired(data), verdict, _by_its_metric(data), _READ_ANSWERS)
    found = scene.result("diagnose_run")
    if found is None:
        said = scene.say(verdict, _by_its_metric(data))
        return scene.use("diagnose_run", said, run=data.get("name"))
    return scene.end(found.summary, ASK_REPAIR if scene.state.offer is Offer.repair else _IMPROVE)


def _by_its_metric(data: dict[str, Any]) -> Text | None:
    metrics = [MetricChange.model_validate(row) for row in as_rows(data.get("metrics"))]
    return metric_verdict(metrics, data.get("answered"))


def _repaired(data: dict[str, Any]) -> Text | None:
    gone, parent = data.get("fault_gone"), data.get("parent")
    if gone is None or parent is None:
        return None
    return (_FAULT_GONE if gone else _FAULT_BACK).format(parent=str(parent))


def _not_yet(data: dict[str, Any]) -> Text:
    running = data.get("state") in {"running", "starting", "stopping"}
    return _TOO_EARLY if running else _NO_AFTER


def _verdict(before: float, after: float) -> Text:
    figures = {
        "before": number(before),
        "after": number(after),
        "ppl_before": number(math.exp(min(before, 50.0))),
        "ppl_after": number(math.exp(min(after, 50.0))),
        "share": f"{abs(before - after) / before * 100:.1f}" if before else "0",
    }
    if after < before * 0.995:
        return _BETTER.format(**figures)
    return (_WORSE if after > before * 1.005 else _SAME).format(**figures)


def list_runs(scene: Scene) -> Decision:
    """List the runs."""
    done = scene.result("list_runs")
    return scene.end(done.summary) if done else scene.use("list_runs")


def compare_runs(scene: Scene) -> Decision:
    """Lay two runs side by side: those that were named, else the two newest."""
    done = scene.result("compare_runs")
    if done is not None:
        return scene.end(done.summary)
    named = scene.reading.runs
    if len(named) < 2:
        listed = scene.result("list_runs")
        if listed is None:
            return scene.use("list_runs")
        newest = [str(row["name"]) for row in as_rows(scene.data("list_runs").get("runs"))]
        named = tuple(reversed(newest[:2]))
        if len(named) < 2:
            return scene.end(listed.summary, _ONE_RUN if listed.ok else None)
    return scene.use("compare_runs", first=named[0], second=named[1])


_ONE_RUN = Text(en="It takes two runs to compare.", zh="至少要有两次运行才能比较。")
ASK_REPAIR = Text(
    en="Shall I repair it? Say *fix it* and I show what would change before anything starts.",
    zh="要我修复吗？说“修一下”，我会先给你看要改什么，再请你确认。",
)
_WATCHING = Text(
    en="It first measures the untouched model on held-out rows, then trains. I watch it and speak up when something "
    "goes wrong; ask *how is it going* at any time.",
    zh="它会先在留出数据上测一遍原模型，再开始训练。我会一直盯着，出问题会主动告诉你；随时可以问“跑到哪了”。",
)
_NOT_ALLOWED = Text(
    en="All right, nothing was done. Tell me what to change, or say so when you are ready.",
    zh="好的，什么都没有动。想调整就告诉我，准备好了再说一声。",
)
_NOTHING_TO_START = Text(
    en="There is nothing to start yet. Tell me what the model should learn and which data file you have, and I write a plan.",
    zh="现在还没有可以启动的计划。告诉我想让模型学会什么、数据文件在哪里，我来制定计划。",
)
_STOPPED = Text(
    en="Its checkpoint is kept: say *resume* to go on from there.",
    zh="检查点已保留，说“继续训练”就能接着跑。",
)
_PLAN_WAITS = Text(en="A plan is ready: say *start*.", zh="计划已经准备好了，说“启动”即可。")
_ASK_RESUME = Text(
    en="Say *resume* to go on from the last good checkpoint.",
    zh="说“继续训练”，可以从最近一个完好的检查点接着跑。",
)
_ASK_RESULT = Text(
    en="Ask *is it better?* for before and after.", zh="想看训练前后的对比，可以问“效果怎么样”。"
)
_NO_RESULT = Text(
    en="There is nothing to compare before a run has ended.", zh="要等一次训练结束后才能对比。"
)
_TOO_EARLY = Text(
    en="It is too early to judge: the held-out figure after training comes at the end.",
    zh="现在还不好判断：训练后的留出集指标要到结束时才有。",
)
_NO_AFTER = Text(
    en="The run has no held-out figure after training, so I cannot say.",
    zh="这次运行没有训练后的留出集指标，所以无法判断。",
)
_BETTER = Text(
    en="**Better.** Loss on held-out rows went from {before} to {after}, {share} % lower (perplexity {ppl_before} → {ppl_after}).",
    zh="**变好了。** 留出数据上的损失从 {before} 降到 {after}，低了 {share}%（困惑度 {ppl_before} → {ppl_after}）。",
)
_FAULT_GONE = Text(
    en="**The repair worked:** the fault of {parent} did not come back.",
    zh="**修复成功：**{parent} 的故障没有再出现。",
)
_FAULT_BACK = Text(
    en="**The fault of {parent} came back,** so this repair was not enough.",
    zh="**{parent} 的故障又出现了，**这次修复还不够。",
)
_SAME = Text(
    en="**No clear difference.** Loss on held-out rows: {before} before, {after} after.",
    zh="**没有明显差别。** 留出数据上的损失：训练前 {before}，训练后 {after}。",
)
_WORSE = Text(
    en="**Worse.** Loss on held-out rows rose from {before} to {after}.",
    zh="**变差了。** 留出数据上的损失从 {before} 升到 {after}。",
)
_READ_ANSWERS = Text(
    en="A lower loss is no proof of better answers: read the answers before and after side by side in the run panel.",
    zh="损失降低不等于回答一定更好，请在运行面板里对照看看训练前后的回答。",
)
_IMPROVE = Text(
    en="Tell me what to change and I plan the next run, for example *train 3 epochs* or *lower the learning rate*.",
    zh="告诉我怎么调整，我来安排下一次训练，例如“训练 3 轮”或“学习率调低”。",
)
