"""The frame of a training script: what is checked before, and what is written whatever happens."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
import traceback
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from torch.utils.cpp_extension import get_default_build_root
from transformers.utils.logging import disable_progress_bar

from tutor_agent.core.checkpoints import last_good
from tutor_agent.core.errors import HaltedError, LaunchError, TutorError
from tutor_agent.core.plan import Plan
from tutor_agent.core.ranks import RankPlace, attempt_logs
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text
from tutor_agent.training.checkpoints import is_disk_full
from tutor_agent.training.guard import REASONS
from tutor_agent.training.recorder import Recorder
from tutor_agent.training.stop import SyncStop

if TYPE_CHECKING:
    from types import TracebackType

    from transformers import Trainer

_LONGEST_BUILD = 900.0
"""Seconds; DeepSpeed compiles for about three minutes."""
_PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")
_PLANNED_TYPES = {
    "none": {
        DistributedType.NO,
        DistributedType.MULTI_CPU,
        DistributedType.MULTI_GPU,
        DistributedType.MULTI_NPU,
    },
    "fsdp2": {DistributedType.FSDP},
    "zero2": {DistributedType.DEEPSPEED},
    "zero3": {DistributedType.DEEPSPEED},
}


@dataclass(frozen=True)
class Options:
    """The command line of a training script."""

    run: Path
    model: Path
    resume: Path | None


def read_options(name: str) -> Options:
    """Read `--run RUN --model DIR [--resume CHECKPOINT]`."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--run", type=Path, required=True, help="run folder with plan.yaml")
    parser.add_argument("--model", type=Path, required=True, help="local model folder")
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    options = parser.parse_args()
    return Options(options.run, options.model, options.resume)


@dataclass
class TrainingRun:
    """One attempt at a run, from its first line to `run_ended`.

    Use it as a context manager: leaving it writes `run_ended` with the state, and on an error the
    reason, whatever the error is. `exit_code` is then the script's.
    """

    options: Options
    place: RankPlace
    plan: Plan
    recorder: Recorder
    stop: SyncStop
    result: Path | None = None
    best_step: int | None = None
    best_loss: float | None = None
    exit_code: int = 0
    _halted: bool = field(default=False, repr=False)

    @classmethod
    def open(cls, options: Options, place: RankPlace) -> Self:
        """Read the plan and begin the event log.

        Raises:
            NotFoundError: There is no plan in the run folder.
            InvalidPlanError: The plan breaks its contract.
        """
        plan = Plan.load(options.run / "plan.yaml")
        recorder = Recorder(options.run, rank=place.rank, attempt=place.attempt)
        return cls(options, place, plan, recorder, SyncStop(options.run))

    def __enter__(self) -> Self:
        """Begin the heartbeat, and seed everything that draws random numbers."""
        self.recorder.start()
        disable_progress_bar()
        random.seed(self.plan.optim.seed)
        np.random.seed(self.plan.optim.seed % 2**32)
        torch.manual_seed(self.plan.optim.seed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Write how it ended. An error that is explained in the event does not go further."""
        if error is None:
            self._end("stopped" if self.stop.stopped else "completed", None, None)
            return False
        traceback.print_exception(kind, error, trace)
        if is_disk_full(error) and not isinstance(error, HaltedError):
            self.recorder.release()
            error = HaltedError(
                f"The disk is full: {error}. Free some space, then resume the run.",
                f"磁盘已满：{error}。请腾出空间后恢复运行。",
                cause="disk_full",
            )
        halted = isinstance(error, HaltedError)
        if isinstance(error, HaltedError) and error.cause not in REASONS:
            good = last_good(self.options.run / "checkpoints")
            self.recorder.write(
                "halted",
                sync=True,
                reason=error.cause,
                text_en=error.text.en,
                text_zh=error.text.zh,
                last_good=f"{good.parent.name}/{good.name}" if good else None,
            )
        reason, text = self._explain(error)
        self._end("halted" if halted else "failed", reason, text)
        self.exit_code = 0 if halted else 1
        return isinstance(error, Exception)

    def started(self, trainer: Trainer, *, tokens_in_epoch: int) -> None:
        """Check that the processes are those of the plan, and write `run_started`.

        Raises:
            LaunchError: The processes do not form the group that was planned, so figures would be wrong.
        """
        check_processes(trainer, self.plan)
        arguments = trainer.args
        half = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"
        resumed = self.options.resume
        self.recorder.write(
            "run_started",
            sync=True,
            world_size=arguments.world_size,
            device=_device_name(arguments.device),
            dtype=half,
            total_steps=arguments.max_steps,
            total_tokens_per_epoch=tokens_in_epoch,
            versions=_versions(),
            resumed_from=resumed.name if resumed else None,
            skill=self.plan.skill,
            vocabulary=_vocabulary(trainer.model),
        )

    def judged_before(self) -> bool:
        """Return whether an earlier attempt wrote the figure from before training."""
        events = self.options.run / "events.jsonl"
        if not events.is_file():
            return False
        lines = events.read_text(encoding="utf-8").splitlines()
        return any('"kind":"evaluation"' in line and '"phase":"before"' in line for line in lines)

    def _explain(self, error: BaseException) -> tuple[str, Text]:
        if isinstance(error, HaltedError):
            return error.cause, error.text
        if isinstance(error, TutorError):
            return type(error).__name__, error.text
        told = Text.same(f"{type(error).__name__}: {error}".strip()[:1500])
        if self.place.rank:
            return told.en, told
        other = self._first_failure()
        return (other.en, other) if other else (told.en, told)

    def _end(self, state: str, reason: str | None, text: Text | None) -> None:
        if state == "failed" and text is not None:
            self._leave_word(text)
        self.recorder.end()
        self.recorder.write(
            "run_ended",
            sync=True,
            state=state,
            reason=reason,
            text_en=text.en if text else None,
            text_zh=text.zh if text else None,
            best_step=self.best_step,
            best_loss=self.best_loss,
            result=self.result.name if self.result else None,
        )

    def _leave_word(self, text: Text) -> None:
        """Let rank 0 know what broke another rank: there it shows only as a lost connection."""
        if self.place.rank and self.place.log is not None:
            path = self.place.log.with_name(f"error-{self.place.rank}.json")
            write_atomic(path, text.model_dump_json())

    def _first_failure(self) -> Text | None:
        logs = attempt_logs(self.options.run, self.place.attempt)
        for path in sorted(logs.glob("error-*.json")):
            found = Text.model_validate(json.loads(path.read_text(encoding="utf-8")))
            rank = path.stem.removeprefix("error-")
            return Text(en=f"rank {rank}: {found.en}", zh=f"进程 {rank}：{found.zh}")
        return None


def check_processes(trainer: Trainer, plan: Plan) -> None:
    """Check world size and kind of the process group.

    Raises:
        LaunchError: Fewer processes work together than were started or planned.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    together = trainer.args.world_size
    if together != started or started != plan.world_size:
        raise LaunchError(
            f"{together} processes train together, {started} were started and the plan says {plan.world_size}. Start the "
            "run with `tutor run`.",
            f"实际协同训练的进程有 {together} 个，启动了 {started} 个，而计划是 {plan.world_size} 个。请用 `tutor run` 启动。",
        )
    found = trainer.accelerator.distributed_type
    fitting = _PLANNED_TYPES[plan.launch.sharding]
    if found not in fitting or (found == DistributedType.NO and started > 1):
        raise LaunchError(
            f"The processes form a group of kind {found.value}, but the plan says sharding {plan.launch.sharding!r} over "
            f"{started}. On a CPU only 'none' works.",
            f"进程组类型为 {found.value}，而计划要求在 {started} 个进程上使用分片 {plan.launch.sharding!r}。"
            "CPU 上只能使用 'none'。",
        )


def check_sharded(trainer: Trainer, plan: Plan) -> None:
    """Check after wrapping that a sharded model really is: the losses could not tell.

    Raises:
        LaunchError: A process holds more than its share of the weights, or DeepSpeed works at another stage.
    """
    sharding, world = plan.launch.sharding, trainer.args.world_size
    if sharding == "none":
        return
    engine: Any = trainer.model_wrapped
    stage = engine.zero_optimization_stage() if hasattr(engine, "zero_optimization_stage") else None
    if sharding.startswith("zero") and stage != int(sharding[-1]):
        raise LaunchError(
            f"The plan says sharding {sharding!r}, but DeepSpeed works at stage {stage}. Start the run with `tutor run`.",
            f"计划要求分片 {sharding!r}，但 DeepSpeed 实际处于阶段 {stage}。请用 `tutor run` 启动。",
        )
    model: Any = trainer.model
    parameters = list(model.parameters())
    held = sum(map(_held, parameters))
    share = sum(_share(parameter, world) for parameter in parameters)
    if sharding != "zero2" and held > share:
        total = sum(map(_size, parameters))
        raise LaunchError(
            f"The plan says sharding {sharding!r}, but this process holds {held:,} of {total:,} weights, and its share "
            f"among {world} is {share:,}. Set launch.sharding to 'none'.",
            f"计划要求分片 {sharding!r}，但本进程持有 {total:,} 个权重中的 {held:,} 个，而 {world} 个进程平分应为 {share:,} 个。"
            "请把 launch.sharding 设为 'none'。",
        )


def _held(parameter: Any) -> int:
    """Return how many elements of a weight lie in this process."""
    if isinstance(parameter, DTensor):
        return parameter.to_local().numel()
    return int(getattr(parameter, "ds_tensor", parameter).numel())


def _size(parameter: Any) -> int:
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _share(parameter: Any, world: int) -> int:
    """Return the most that one of `world` processes may hold: FSDP2 cuts along the first dimension."""
    size = _size(parameter)
    rows = parameter.shape[0] if isinstance(parameter, DTensor) and parameter.dim() else size
    return math.ceil(rows / world) * (size // max(rows, 1))


def refuse_stale_locks(plan: Plan) -> None:
    """Check that no lock of a dead build is in the way of DeepSpeed.

    It compiles parts of itself at its first start; a build that was killed leaves a lock behind, and whoever comes
    later waits for it without end.

    Raises:
        LaunchError: A lock is older than any build takes.
    """
    if not plan.launch.sharding.startswith("zero"):
        return
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    latest = time.time() - _LONGEST_BUILD
    found = [lock for pattern in ("*/lock", "*/*/lock") for lock in root.glob(pattern)]
    stale = sorted(str(lock) for lock in found if lock.stat().st_mtime < latest)
    if stale:
        raise LaunchError(
            f"DeepSpeed would wait without end for a build that was cut off: {', '.join(stale)}. If nothing is being "
            "built on this machine, delete the lock and start again.",
            f"DeepSpeed 会一直等待一次被中断的编译：{'、'.join(stale)}。若本机没有正在进行的编译，请删除该锁文件后重新开始。",
        )


def _versions() -> dict[str, Any]:
    found: dict[str, Any] = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
