"""Save so that a cut save does no harm: room first, then verify, then mark, then prune."""

from __future__ import annotations

import errno
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutor_agent.core.checkpoints import faults_of, is_good, last_good, mark_good, step_of
from tutor_agent.core.errors import CheckpointError, HaltedError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from tutor_agent.core.plan import Plan
    from tutor_agent.training.recorder import Recorder

_KEPT_GOOD = 2
_STATES = {
    "adamw": 2.0,
    "adamw_8bit": 0.5,
    "paged_adamw_8bit": 0.5,
    "adafactor": 0.1,
    "sgd": 0.0,
}
"""What an optimizer keeps of every weight that moves, in sizes of that weight."""
_MARGIN = 1.1
_SMALL_FILES = 2**20
_MIB = 2**20
_NO_SPACE = re.compile(
    r"No space left|os error 28|Disk quota|PytorchStreamWriter failed|unexpected pos"
)


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: `checkpoints` in the run folder.
        recorder: Receives an event for each save.
        world_size: Processes that each keep a random state in a checkpoint.
        expected_bytes: Size of one checkpoint.
        drilled: Whether a checkpoint of this attempt was read back.
    """

    folder: Path
    recorder: Recorder
    world_size: int
    expected_bytes: int
    drilled: bool = False

    def has_room(self) -> bool:
        """Return whether the disk takes another checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.folder).free >= self.expected_bytes

    def has_room_for_all(self, saves: int, result: int) -> bool:
        """Return whether the disk takes a whole run: its checkpoints at their most, then a result of `result` bytes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.folder).free >= self._needed(saves, result)[1]

    def no_room_ahead(self, saves: int, result: int) -> HaltedError:
        """Explain that a run would fill the disk; nothing was trained yet."""
        most, needed = self._needed(saves, result)
        free = shutil.disk_usage(self.folder).free / _MIB
        size = self.expected_bytes / _MIB
        return HaltedError(
            f"The disk is too small for this run: up to {most} more checkpoints of {size:.1f} MiB and a result of "
            f"{result / _MIB:.1f} MiB need {needed / _MIB:.1f} MiB, and {free:.1f} MiB are free at {self.folder}. Free some "
            "space, or train fewer weights (LoRA).",
            f"磁盘空间不足以完成本次训练：最多还要保存 {most} 个 {size:.1f} MiB 的检查点和 {result / _MIB:.1f} MiB 的结果，共需 "
            f"{needed / _MIB:.1f} MiB，而 {self.folder} 仅剩 {free:.1f} MiB。请腾出空间，或减少训练的权重（如 LoRA）。",
            cause="disk_full",
        )

    def _needed(self, saves: int, result: int) -> tuple[int, int]:
        """Return how many checkpoints come on top of those there at the most, and the bytes of a whole run.

        One is written before another goes; the result comes when those that stay are all there is.
        """
        there = len([*self.folder.glob("checkpoint-*")])
        kept = _KEPT_GOOD + 1
        writing = max(0, min(there + saves, kept + 1) - there)
        staying = max(0, min(there + saves, kept) - there)
        return writing, max(writing * self.expected_bytes, staying * self.expected_bytes + result)

    def no_room(self) -> HaltedError:
        """Explain that the disk is full; the checkpoints there are stay usable."""
        free = shutil.disk_usage(self.folder).free / _MIB
        needed = self.expected_bytes / _MIB
        kept = last_good(self.folder)
        place = f"{kept.name} is kept and usable" if kept else "there is no earlier checkpoint"
        place_zh = f"{kept.name} 完好，可继续使用" if kept else "没有更早的检查点"
        return HaltedError(
            f"The disk is full: a checkpoint needs {needed:.1f} MiB and {free:.1f} MiB are free at {self.folder}; {place}. "
            "Free some space, then resume the run.",
            f"磁盘已满：保存检查点需要 {needed:.1f} MiB，而 {self.folder} 仅剩 {free:.1f} MiB；{place_zh}。"
            "请腾出空间后恢复运行。",
            cause="disk_full",
        )

    def cut(self, checkpoint: Path, error: Exception) -> HaltedError | CheckpointError:
        """Move a checkpoint that could not be finished out of the way, and explain."""
        self.recorder.release()
        self.set_aside(checkpoint)
        if is_disk_full(error):
            return self.no_room()
        return CheckpointError(
            f"{checkpoint.name} could not be written: {error}. Earlier checkpoints are untouched; check the disk, then "
            "resume the run.",
            f"无法写入 {checkpoint.name}：{error}。先前的检查点未受影响；请检查磁盘后恢复运行。",
        )

    def set_aside(self, checkpoint: Path) -> Path | None:
        """Rename a broken checkpoint, so that nothing takes it for one and nothing is lost."""
        if not checkpoint.is_dir():
            return None
        aside = checkpoint.with_name(f"cut-{checkpoint.name}-{int(time.time())}")
        checkpoint.rename(aside)
        return aside

    def faults(self, checkpoint: Path) -> list[str]:
        """Return what keeps `checkpoint` from being resumed by as many processes."""
        return faults_of(checkpoint, self.world_size)

    def broken(self, checkpoint: Path, faults: list[str]) -> CheckpointError:
        """Move a checkpoint with `faults` out of the way, and explain; ranks that found none only explain."""
        if not faults:
            return CheckpointError(
                f"{checkpoint.name} cannot be relied on; the first process tells why.",
                f"{checkpoint.name} 不可靠；原因见第一个进程的说明。",
            )
        self.set_aside(checkpoint)
        return CheckpointError(
            f"{checkpoint.name} cannot be relied on: {'; '.join(faults)}. It was moved aside; earlier ones are untouched. "
            "Check the disk, then resume the run.",
            f"{checkpoint.name} 不可靠：{'；'.join(faults)}。已将其移到一旁，先前的检查点未受影响。请检查磁盘后恢复运行。",
        )

    def accept(
        self, checkpoint: Path, *, seconds: float, drilled: bool, sane: bool, loss: float | None
    ) -> None:
        """Mark a verified checkpoint when the run is in order, and report it."""
        if sane:
            mark_good(checkpoint, **({} if loss is None else {"loss": loss}))
        else:
            self.recorder.note(
                Text(
                    en=f"{checkpoint.name} is saved but not trusted: the loss has risen far above its best stretch.",
                    zh=f"{checkpoint.name} 已保存但不可信：损失已远高于最好的一段。",
                )
            )
        size = sum(item.stat().st_size for item in checkpoint.rglob("*") if item.is_file())
        self.expected_bytes = max(self.expected_bytes, int(size * _MARGIN))
        self.recorder.write(
            "checkpoint",
            path=f"{self.folder.name}/{checkpoint.name}",
            good=sane,
            seconds=round(seconds, 3),
            bytes=size,
            drilled=drilled,
            sync=True,
        )

    def prune(self, best: Path | None) -> None:
        """Delete what nobody needs: all but the newest, the best, and the two newest good ones."""
        found = sorted(self.folder.glob("checkpoint-*"), key=step_of, reverse=True)
        good = [checkpoint for checkpoint in found if is_good(checkpoint)][:_KEPT_GOOD]
        kept = {*found[:1], *good, *([best] if best else [])}
        for checkpoint in found:
            if checkpoint not in kept:
                shutil.rmtree(checkpoint)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, says that the disk has no room left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if _NO_SPACE.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def expected_sizes(model: torch.nn.Module, plan: Plan) -> tuple[int, int]:
    """Return the bytes of a checkpoint, weights and what the optimizer keeps, and those of the result."""
    moving = [p for p in model.parameters() if p.requires_grad]
    adapter = hasattr(model, "peft_config")
    weights = sum(_bytes(p) for p in (moving if adapter else model.parameters()))
    states = _STATES[plan.optim.optimizer] * sum(_bytes(p) for p in moving)
    # Beside the weights for others lies what a sharded run itself resumes from.
    copies = 2 if plan.launch.sharding == "fsdp2" else 1
    return int((copies * weights + states) * _MARGIN) + _SMALL_FILES, weights + _SMALL_FILES


def _bytes(parameter: torch.nn.Parameter) -> int:
    return int(getattr(parameter, "ds_numel", parameter.numel())) * parameter.element_size()
