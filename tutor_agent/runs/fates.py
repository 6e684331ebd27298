"""How an attempt ended: from its events and its ranks, never from the launcher's exit code."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.processes import is_alive
from tutor_agent.core.redact import redact
from tutor_agent.core.text import Text
from tutor_agent.runs.folder import State
from tutor_agent.runs.processes import ranks_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tutor_agent.core.events import Event
    from tutor_agent.runs.folder import RunFolder
    from tutor_agent.runs.progress import Progress

_TAIL_BYTES = 64 * 1024
_FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+) ")
_TABLE = re.compile(r"rank\s+: (\d+) .*\n\s*exitcode\s+: (-?\d+) ")
_TRACEBACK = "Traceback (most recent call last):"
_HALT_WORDS = {
    "non_finite_loss": Text(en="the loss became NaN or infinite", zh="损失变成了 NaN 或无穷大"),
    "non_finite_gradient": Text(
        en="the gradient became NaN or infinite", zh="梯度变成了 NaN 或无穷大"
    ),
    "stop_requested": Text(en="a stop was asked for", zh="收到了停止请求"),
}


class RankFate(Contract):
    """What became of one rank."""

    rank: int
    """Its number."""
    exit_code: int | None
    """Exit code, negative for a signal; None when nobody saw it."""
    ended_itself: bool
    """Whether Python came to its end, with or without an error."""
    error: str = ""
    """Last line of its traceback, without secrets."""
    memory_short: bool = False
    """Whether the system killed processes for want of memory meanwhile."""

    @property
    def failed(self) -> bool:
        """Whether it did not end as it should."""
        return bool(self.exit_code) or bool(self.error) or not self.ended_itself

    @property
    def signal_name(self) -> str | None:
        """The signal that ended it."""
        if self.exit_code is None or self.exit_code >= 0:
            return None
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:
            return f"signal {-self.exit_code}"

    def text(self) -> Text:
        """Say it in a sentence."""
        if self.error and self.signal_name != "SIGKILL":
            return Text(
                en=f"rank {self.rank} failed: {self.error}",
                zh=f"rank {self.rank} 出错：{self.error}",
            )
        if self.signal_name == "SIGKILL" and self.memory_short:
            return Text(
                en=f"rank {self.rank} was killed by the system (SIGKILL): the machine ran out of memory",
                zh=f"rank {self.rank} 被系统强制结束（SIGKILL）：机器内存不足",
            )
        if self.signal_name == "SIGKILL":
            return Text(
                en=f"rank {self.rank} was killed (SIGKILL): by hand, or by the system for want of memory",
                zh=f"rank {self.rank} 被强制结束（SIGKILL）：可能是人为，也可能是系统内存不足",
            )
        if self.signal_name:
            return Text(
                en=f"rank {self.rank} was ended by {self.signal_name}",
                zh=f"rank {self.rank} 被信号 {self.signal_name} 结束",
            )
        if self.exit_code:
            return Text(
                en=f"rank {self.rank} ended with exit code {self.exit_code}",
                zh=f"rank {self.rank} 以退出码 {self.exit_code} 结束",
            )
        return Text(
            en=f"rank {self.rank} vanished without a word",
            zh=f"rank {self.rank} 无声消失，没有留下记录",
        )


class Outcome(Contract):
    """The end of an attempt."""

    state: State
    """completed, halted, stopped or failed."""
    reason: Text | None = None
    """Why."""


def read_fates(
    folder: RunFolder, attempt: int, *, memory_short: bool = False
) -> tuple[RankFate, ...]:
    """Return the fate of every recorded rank; whoever failed first comes first."""
    logs = folder.attempt(attempt)
    words = tail(logs / "launcher.log")
    codes = {int(rank): int(code) for rank, code in _TABLE.findall(words)}
    codes |= {int(rank): int(code) for code, rank in _FAILED.findall(words)}
    first = [int(rank) for _, rank in _FAILED.findall(words)]
    fates = [
        RankFate(
            rank=rank,
            exit_code=codes.get(rank),
            ended_itself=(logs / f"rank-{rank}.ended").exists(),
            error=_last_error(tail(logs / f"rank-{rank}.log")),
            memory_short=memory_short,
        )
        for rank, identity in ranks_of(folder, attempt).items()
        if not is_alive(identity)
    ]
    return tuple(sorted(fates, key=lambda fate: (fate.rank not in first, fate.rank)))


def conclude(
    folder: RunFolder,
    progress: Progress,
    fates: tuple[RankFate, ...],
    *,
    outputs: Iterable[str],
    launcher_code: int | None,
) -> Outcome:
    """Say how the attempt in `progress` ended, its processes being gone."""
    asked = folder.stop_marker.exists()
    ended = progress.ended
    if ended is not None and ended.payload.get("state") == "completed":
        return _completed(folder, ended, outputs)
    if ended is not None and ended.payload.get("state") == "stopped":
        return _stopped(ended, None if asked else launcher_code)
    killed = killed_first(fates)
    if ended is not None and killed is None:
        state = "halted" if ended.payload.get("state") == "halted" else "failed"
        return Outcome(state=state, reason=_own_reason(ended))
    if progress.halted is not None:
        return Outcome(state="halted", reason=_own_reason(progress.halted))
    if asked and not any(fate.error for fate in fates):
        return Outcome(
            state="stopped",
            reason=Text(
                en=f"stopped at step {progress.step}, before the ranks could say so themselves",
                zh=f"在第 {progress.step} 步停止，训练进程未及自行确认",
            ),
        )
    return Outcome(state="failed", reason=_failure(folder, progress, fates, launcher_code))


def killed_first(fates: tuple[RankFate, ...]) -> RankFate | None:
    """Return the rank that was killed first: the others know only that a connection broke."""
    if fates and fates[0].signal_name not in {None, "SIGTERM"}:
        return fates[0]
    return None


def tail(path: Path, size: int = _TAIL_BYTES) -> str:
    """Return the end of a text file; empty when there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - size))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _completed(folder: RunFolder, ended: Event, outputs: Iterable[str]) -> Outcome:
    missing = [name for name in outputs if not (folder.path / name).exists()]
    if not missing:
        return Outcome(state="completed", reason=_own_reason(ended))
    names = ", ".join(missing)
    return Outcome(
        state="failed",
        reason=Text(
            en=f"training ended, but {names} was not written",
            zh=f"训练已结束，但没有写出 {names}",
        ),
    )


def _stopped(ended: Event, launcher_code: int | None) -> Outcome:
    """Nobody asked for this stop when the launcher was killed: the ranks stopped to save their work."""
    if launcher_code is None or launcher_code >= 0:
        return Outcome(state="stopped", reason=_own_reason(ended))
    return Outcome(
        state="failed",
        reason=Text(
            en=f"the launcher was ended by signal {-launcher_code}; the ranks saved a checkpoint and stopped",
            zh=f"启动进程被信号 {-launcher_code} 结束；训练进程已保存检查点并停止",
        ),
    )


def _own_reason(event: Event) -> Text | None:
    """Return the reason that the training process gave, in its own words if it gave any."""
    english, chinese = event.payload.get("text_en"), event.payload.get("text_zh")
    if isinstance(english, str) and isinstance(chinese, str):
        return Text(en=redact(english), zh=redact(chinese))
    if not event.payload.get("reason"):
        return None
    words = redact(str(event.payload["reason"]))
    known = _HALT_WORDS.get(words)
    if known is None:
        return Text.same(words)
    return Text(en=f"{known.en} at step {event.step}", zh=f"第 {event.step} 步：{known.zh}")


def _failure(
    folder: RunFolder, progress: Progress, fates: tuple[RankFate, ...], launcher_code: int | None
) -> Text:
    failed = [fate for fate in fates if fate.failed]
    # Survivors of a broken collective fail too: only the first failure is the reason.
    first = next((fate for fate in failed if fate.exit_code is not None or fate.error), None)
    if first is None and failed:
        first = failed[0]
    if first is not None:
        return _at_step(first.text(), progress.step)
    words = tail(folder.attempt(folder.last_attempt()) / "launcher.log")
    error = _last_error(words) or redact(words.strip().rpartition("\n")[2][:300])
    if not fates and error:
        return Text(en=f"the ranks did not start: {error}", zh=f"训练进程没有启动：{error}")
    code = "unknown" if launcher_code is None else str(launcher_code)
    return Text(
        en=f"the ranks ended at step {progress.step} without saying how (launcher exit code {code})",
        zh=f"训练进程在第 {progress.step} 步结束，没有说明原因（启动进程退出码 {code}）",
    )


def _at_step(words: Text, step: int) -> Text:
    return Text(en=f"{words.en}, at step {step}", zh=f"{words.zh}（第 {step} 步）")


def _last_error(log: str) -> str:
    """Return the last line of the last traceback, or of a fatal error of the interpreter."""
    if "Fatal Python error:" in log:
        return redact(log.rsplit("Fatal Python error:", 1)[1].split("\n", 1)[0].strip()[:300])
    if _TRACEBACK not in log:
        return ""
    for line in log.rsplit(_TRACEBACK, 1)[1].splitlines():
        if line and not line[0].isspace():
            return redact(line.strip()[:300])
    return ""
