"""Follow the log of any training tool and say what goes wrong as soon as it shows."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from tutor_agent.actions.watch import LogWatch, Look
from tutor_agent.cli.machine_readable import diagnosis_json
from tutor_agent.cli.render import diagnosis_lines, figure, finding_lines
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tutor_agent.cli.output import Output

_LINE_EVERY = 10.0
_OVER, _FAILED = 6.0, 15.0
"""Seconds without news after which a run that said its end, or whose last word is an error, has ended."""
_STALLED, _STALLED_GAPS = 120.0, 10
_READING_SHARE = 0.2
_NAMES = {
    "loss": Text(en="loss", zh="损失"),
    "grad_norm": Text(en="gradient", zh="梯度"),
    "learning_rate": Text(en="lr", zh="学习率"),
    "eval_loss": Text(en="validation", zh="验证损失"),
}


class LogPrinter:
    """Looks at a log again and again, and prints what is new."""

    def __init__(
        self,
        path: Path,
        output: Output,
        *,
        now: Callable[[], float] | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._path, self._output = path, output
        self._now, self._pause = now or time.monotonic, pause or time.sleep
        self._watch = LogWatch(path, output.language)
        self._last: Look | None = None
        self._changed = self._printed = self._now()
        self._gaps: list[float] = []
        self._told_stall = False
        self._named: Path | None = None
        self._shown: tuple[int | None, int] | None = None

    def follow(self, *, once: bool = False, poll_seconds: float = 1.0) -> int:
        """Print until the run has ended and return the exit code: 3 for a fault, else 0.

        Raises:
            NotFoundError: Nothing is there, and `once` says not to wait, or not even its folder is there.
        """
        if not self._path.exists() and (once or not self._path.absolute().parent.is_dir()):
            raise NotFoundError(
                f"Nothing at {str(self._path)!r}. Give a log, or the folder that the tool writes into.",
                f"{str(self._path)!r} 不存在。请给出日志文件，或训练工具的输出文件夹。",
            )
        try:
            return self._once() if once else self._until_it_ends(poll_seconds)
        except KeyboardInterrupt:
            self._close()
            raise

    def _once(self) -> int:
        self._last = self._watch.look()
        if self._last is None:
            raise NotFoundError(
                f"{str(self._path)!r} holds no log yet. Without --once it is waited for.",
                f"{str(self._path)!r} 里还没有日志。去掉 --once 会一直等待。",
            )
        self._say_which(self._last)
        return self._close()

    def _until_it_ends(self, poll_seconds: float) -> int:
        where = self._path
        self._output.say(
            Text(en=f"watching {where} (Ctrl-C ends)", zh=f"正在查看 {where}（按 Ctrl-C 结束）")
        )
        waiting = False
        while True:
            began = self._now()
            look = self._watch.look()
            if look is not None:
                self._show(look)
            elif self._last is None and not waiting:
                waiting = True
                self._output.say(
                    Text(en="no log there yet; waiting for it", zh="那里还没有日志，等待中")
                )
            if self._has_ended():
                return self._close()
            self._pause(max(poll_seconds, (self._now() - began) / _READING_SHARE))

    def _show(self, look: Look) -> None:
        if self._last is not None:
            self._gaps = [*self._gaps, self._now() - self._changed][-100:]
        if self._told_stall:
            self._output.say(Text(en="it goes on", zh="又有新内容了"))
        self._told_stall = False
        self._changed = self._now()
        if look.began_anew:
            self._output.say(
                Text(en="— another run begins here —", zh="—— 这里开始了另一次运行 ——")
            )
        self._say_which(look)
        first = self._last is None or look.began_anew
        moved = first or (look.step, look.points) != self._shown
        if look.news or (moved and (first or self._now() - self._printed >= _LINE_EVERY)):
            self._say_figures(look)
        if look.cleared:
            gone = look.cleared
            self._output.say(Text(en=f"✓ no longer seen: {gone}", zh=f"✓ 已不再出现：{gone}"))
        if look.news:
            self._output.lines(finding_lines(look.news, self._output.language))
        self._last = look

    def _say_which(self, look: Look) -> None:
        """Say which run of a folder is followed, once."""
        if not look.others or self._named == look.source:
            return
        self._named = look.source
        count, name = look.others + 1, look.source
        self._output.say(
            Text(
                en=f"{count} runs in this folder; this is the newest: {name}",
                zh=f"该文件夹中有 {count} 次运行；查看最新的一次：{name}",
            )
        )

    def _say_figures(self, look: Look) -> None:
        self._printed, self._shown = self._now(), (look.step, look.points)
        if look.step is None:
            return
        language = self._output.language
        shown = [f"{_NAMES[n].pick(language)} {figure(v)}" for n, v in look.figures.items()]
        self._output.say(f"{look.step:>7}  {' · '.join(shown)}")

    def _has_ended(self) -> bool:
        """Whether the run is over, told by its words and its silence; a silence without a word is told once."""
        last = self._last
        if last is None:
            return False
        quiet = self._now() - self._changed
        if (last.over and quiet >= _OVER) or (last.failed and quiet >= _FAILED):
            return True
        usual = statistics.median(self._gaps) if self._gaps else 0.0
        if quiet >= max(_STALLED, _STALLED_GAPS * usual) and not self._told_stall:
            self._told_stall = True
            self._output.say(
                Text(
                    en=f"nothing new for {quiet:.0f} s (usually {usual:.0f} s): it may hang, or have been killed. Look whether its "
                    "processes live.",
                    zh=f"已有 {quiet:.0f} 秒没有新内容（平时约 {usual:.0f} 秒）：可能卡住了，或已被终止。请看看进程是否还在。",
                )
            )
        return False

    def _close(self) -> int:
        """Print the verdict over all that was seen."""
        if self._last is None:
            return 0
        result = self._last.diagnosis
        if self._output.as_json:
            self._output.emit(diagnosis_json(result))
        else:
            self._say_figures(self._last)
            self._output.lines(diagnosis_lines(result))
        return 3 if result.verdict == "fault" else 0
