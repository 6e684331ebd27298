"""Follow a run in the terminal until it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.cli.render import figure, finding_lines
from tutor_agent.core.text import Text
from tutor_agent.runs.folder import RunFolder, is_run
from tutor_agent.runs.follow import Follower
from tutor_agent.runs.view import RunView, read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.cli.output import Output
    from tutor_agent.core.events import Event

LIVE = frozenset({"starting", "running", "stopping"})
_STEP_LINES = 20


def follow(name: str, path: str, output: Output, *, poll_seconds: float = 0.5) -> RunView:
    """Print what happens in a run until it has ended, and return its last state.

    Where the autopilot repairs the run, the repaired one is followed, and so on: the last is returned.
    """
    view = _follow_one(name, Path(path), output, poll_seconds)
    while view.repaired_by is not None:
        child = Path(view.path).parent / view.repaired_by
        if not is_run(child):
            return view
        view = _follow_one(child.name, child, output, poll_seconds)
    return view


def _follow_one(name: str, path: Path, output: Output, poll_seconds: float) -> RunView:
    folder = RunFolder(path)
    follower = Follower(folder)
    printer = _Printer(output, name)
    while True:
        ended = read_run(folder.path).state not in LIVE
        for event in follower.poll():
            printer.show(event)
        if ended:
            view = read_run(folder.path)
            printer.close(view)
            return view
        time.sleep(poll_seconds)


class _Printer:
    """Turns events into lines: every evaluation, and about twenty steps of a run."""

    def __init__(self, output: Output, name: str) -> None:
        self._output = output
        self._name = name
        self._total = 0
        self._printed = -1

    def show(self, event: Event) -> None:
        shows: dict[str, Callable[[Event], None]] = {
            "run_started": self._started,
            "audit": self._audit,
            "step": self._step,
            "evaluation": self._evaluation,
            "checkpoint": self._checkpoint,
            "halted": self._halted,
        }
        if show := shows.get(event.kind):
            show(event)

    def close(self, view: RunView) -> None:
        state = {
            "completed": Text(en="finished", zh="已完成"),
            "halted": Text(en="halted by the guard", zh="被守护机制拦停"),
            "stopped": Text(en="stopped", zh="已停止"),
            "failed": Text(en="failed", zh="失败"),
            "lost": Text(en="lost", zh="已失联"),
        }.get(view.state, Text.same(view.state))
        self._output.say(f"  {self._name} {state.pick(self._output.language)}")
        if view.reason and view.state != "completed":
            self._output.say(f"  {view.reason.pick(self._output.language)}")
        for finding in view.findings:
            self._output.lines(finding_lines(finding, self._output.language))
        if view.autopilot:
            self._output.say(f"  {view.autopilot.pick(self._output.language)}", bold=True)

    def _line(self, event: Event, text: Text) -> None:
        self._output.say(f"  {event.step:>5}  {text.pick(self._output.language)}")

    def _started(self, event: Event) -> None:
        self._total = int(event.number("total_steps") or 0)
        device, dtype = event.payload.get("device"), event.payload.get("dtype")
        count = int(event.number("world_size") or 1)
        self._line(
            event,
            Text(
                en=f"started: {count} process(es) on {device}, {dtype}, {self._total} steps",
                zh=f"已开始：{count} 个进程，{device}，{dtype}，共 {self._total} 步",
            ),
        )

    def _audit(self, event: Event) -> None:
        trainable, total = event.number("trainable") or 0, event.number("total") or 1
        supervised, tokens = (
            event.number("supervised_tokens") or 0,
            event.number("total_tokens") or 1,
        )
        self._line(
            event,
            Text(
                en=f"trains {trainable:,.0f} of {total:,.0f} weights ({trainable / total:.2%}); "
                f"learns from {supervised:,.0f} of {tokens:,.0f} tokens",
                zh=f"训练 {total:,.0f} 个权重中的 {trainable:,.0f} 个（{trainable / total:.2%}）；"
                f"{tokens:,.0f} 个词元中有 {supervised:,.0f} 个参与学习",
            ),
        )

    def _step(self, event: Event) -> None:
        every = max(1, self._total // _STEP_LINES)
        if event.step % every and event.step != self._total:
            return
        loss, rate = figure(event.number("loss")), event.number("tokens_per_second")
        speed = f" · {rate:,.0f} tok/s" if rate else ""
        gradient, learning_rate = (
            figure(event.number("grad_norm")),
            figure(event.number("learning_rate")),
        )
        self._line(
            event,
            Text(
                en=f"loss {loss} · gradient {gradient} · lr {learning_rate}{speed}",
                zh=f"损失 {loss} · 梯度 {gradient} · 学习率 {learning_rate}{speed}",
            ),
        )

    def _evaluation(self, event: Event) -> None:
        phase = {
            "before": Text(en="before training", zh="训练前"),
            "after": Text(en="after training", zh="训练后"),
        }.get(str(event.payload.get("phase")), Text(en="evaluation", zh="评估"))
        split = str(event.payload.get("split"))
        name = {
            "validation": Text(en="validation", zh="验证集"),
            "test": Text(en="held out", zh="留出集"),
        }
        where = name.get(split, Text.same(split))
        loss, perplexity = figure(event.number("loss")), figure(event.number("perplexity"))
        self._line(
            event,
            Text(
                en=f"{phase.en} ({where.en}): loss {loss}, perplexity {perplexity}",
                zh=f"{phase.zh}（{where.zh}）：损失 {loss}，困惑度 {perplexity}",
            ),
        )

    def _checkpoint(self, event: Event) -> None:
        if event.payload.get("good"):
            path = event.payload.get("path")
            self._line(event, Text(en=f"saved {path}", zh=f"已保存 {path}"))

    def _halted(self, event: Event) -> None:
        reason = event.payload.get("reason")
        kept = event.payload.get("last_good") or "–"
        self._line(
            event,
            Text(
                en=f"halted before the step: {reason}; last good checkpoint: {kept}",
                zh=f"在更新前拦停：{reason}；最近的可用检查点：{kept}",
            ),
        )
