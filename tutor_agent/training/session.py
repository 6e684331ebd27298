"""The parts that every training script puts together in the same way."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from tutor_agent.core.checkpoints import step_of
from tutor_agent.core.storage import write_atomic
from tutor_agent.data.collate import Collator, Items, one_each, pack
from tutor_agent.data.order import ByLength
from tutor_agent.training.arguments import make_arguments, total_steps
from tutor_agent.training.callbacks import EarlyStop, PlanWins, StepEvents
from tutor_agent.training.checkpoints import Checkpoints, expected_sizes
from tutor_agent.training.classifier import save_classes
from tutor_agent.training.entry import TrainingRun, check_sharded, refuse_stale_locks
from tutor_agent.training.guard import Guard
from tutor_agent.training.judging import judge_now, names_of
from tutor_agent.training.kernels import hasten
from tutor_agent.training.model import pad_id, refuse_packing
from tutor_agent.training.segments import join_rows
from tutor_agent.training.trackers import Trackers, refuse_missing
from tutor_agent.training.trainer import TutorTrainer, Watch

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.data.prepare import Prepared
    from tutor_agent.training.audit import TrainableAudit
    from tutor_agent.training.model import Precision


def report_audit(
    run: TrainingRun, data: Prepared, audit: TrainableAudit, adapted: list[str] | None = None
) -> None:
    """Write the `audit` event: what is learnt from, and what moves."""
    labels = data.audit
    run.recorder.write(
        "audit",
        sync=True,
        trainable=audit.trainable,
        total=audit.total,
        modules=audit.modules,
        dtypes=audit.dtypes,
        lora_targets=adapted or [],
        supervised_tokens=labels.supervised_tokens,
        total_tokens=labels.total_tokens,
        masked_rows=labels.masked_rows,
        rows=labels.rows,
        eos_supervised=labels.eos_supervised,
        truncated=labels.truncated,
        validation_rows=len(data.validation),
        test_rows=len(data.test),
        problems=[problem.en for problem in labels.problems],
        problems_zh=[problem.zh for problem in labels.problems],
        data_sha256=data.sha256,
        repeated_rows=data.rows.repeated,
        damaged_rows=data.rows.damaged,
        shared_rows=data.rows.shared,
        foreign_markers=list(data.rows.foreign_markers),
    )


def make_trainer(
    run: TrainingRun,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    data: Prepared,
    precision: Precision,
) -> TutorTrainer:
    """Put model, data and everything that watches over them into a trainer."""
    plan = run.plan
    refuse_missing(plan)
    refuse_stale_locks(plan)
    if plan.trackers and run.place.rank == 0:
        begun = step_of(run.options.resume) if run.options.resume else 0
        run.recorder.tell(Trackers(run.options.run, plan, step=begun))
    pad = pad_id(tokenizer)
    # The score of a class is read off at the end of a row, so each text has its own.
    packed = plan.data.packing and data.head is None
    if packed:
        refuse_packing(model)
    items = (
        pack(data.train, plan.data.max_length, plan.optim.seed) if packed else one_each(data.train)
    )
    filled = Items(items, multiple=plan.effective_batch, filling=pad)
    order = None
    if plan.data.batching == "by_length" and not packed:
        order = ByLength(filled.lengths, batch=plan.effective_batch, seed=plan.optim.seed)
    steps = total_steps(plan, len(items))
    folder = run.options.run / "checkpoints"
    block = _block_class(model)
    # A classifier reads the end of each row, so its texts stay apart.
    joined = data.head is None and join_rows(model, plan)
    hasten(model, plan)
    arguments = make_arguments(plan, folder, steps, precision, block)
    guard = Guard(
        vocabulary=model.get_input_embeddings().weight.shape[0],
        on_non_finite=plan.guard.non_finite,
        scaled=precision.compute is torch.float16,
    )
    size, result = expected_sizes(model, plan)
    checkpoints = Checkpoints(folder, run.recorder, plan.world_size, size)
    trainer = TutorTrainer(
        watch=Watch(guard, run.recorder, checkpoints, tokenizer, names_of(run)),
        validation=data.validation,
        collator=Collator(
            pad,
            packed=packed or joined,
            flat=joined or (packed and plan.model.attention == "flash"),
        ),
        order=order,
        model=model,
        args=arguments,
        train_dataset=filled,
        processing_class=tokenizer,
        callbacks=_callbacks(run, guard),
    )
    run.started(trainer, tokens_in_epoch=filled.tokens)
    _refuse_full_disk(run, trainer, result)
    return trainer


def _callbacks(run: TrainingRun, guard: Guard) -> list[TrainerCallback]:
    found: list[TrainerCallback] = [PlanWins(), StepEvents(run.recorder, guard), run.stop]
    patience = run.plan.evaluation.early_stopping
    return [*found, EarlyStop(patience, run.recorder)] if patience else found


def _refuse_full_disk(run: TrainingRun, trainer: TutorTrainer, result: int) -> None:
    """Check that the disk takes all that the run will write, `result` bytes of it at the end."""
    checkpoints, arguments = trainer.watch.checkpoints, trainer.args
    done = step_of(run.options.resume) if run.options.resume else 0
    saves = math.ceil((arguments.max_steps - done) / int(arguments.save_steps))
    if not trainer.all_agree(checkpoints.has_room_for_all(saves, result)):
        raise checkpoints.no_room_ahead(saves, result)


def judge(run: TrainingRun, trainer: TutorTrainer, data: Prepared, phase: str) -> None:
    """Write the held-out figure and a few answers with the present weights (`before` or `after`).

    An attempt that goes on from a checkpoint has its figure from before already. Sharded weights can be
    judged only once they are sharded, which is when training begins.
    """
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if phase == "before" and (run.options.resume or sharded):
        trainer.add_callback(_AtBegin(run, trainer, data))
        if sharded or run.judged_before():
            return
    judge_now(run, trainer, data, phase)


def train(run: TrainingRun, trainer: TutorTrainer) -> bool:
    """Train, from a checkpoint if one was given; return whether it ran to its end, unstopped.

    Raises:
        HaltedError: The guard stopped it, or the disk is full.
    """
    resume = run.options.resume
    if resume is not None:
        state = json.loads((resume / "trainer_state.json").read_text(encoding="utf-8"))
        trainer.watch.guard.remember(
            entry["loss"] for entry in state["log_history"] if "loss" in entry
        )
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    run.recorder.step = trainer.state.global_step
    run.best_step, run.best_loss = trainer.state.best_global_step, trainer.state.best_metric
    return not run.stop.stopped


def save_result(
    run: TrainingRun,
    trainer: TutorTrainer,
    ends: tuple[int, ...],
    dtype: torch.dtype | None = None,
) -> Path:
    """Write the kept weights and the tokenizer to `result`.

    Args:
        run: The attempt.
        trainer: Holds the kept weights.
        ends: Tokens that end an answer; whoever serves the result has to stop at them.
        dtype: Precision of the weights on disk; they are rounded to it here too, so that what is judged
            afterwards is what was saved.
    """
    folder = run.options.run / "result"
    _let_it_stop(trainer.body, ends)
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if dtype is not None and not sharded:
        model: torch.nn.Module = trainer.body
        moving = {p: p.dtype for p in model.parameters()}
        model.to(dtype)
        trainer.save_model(str(folder))
        for parameter, own in moving.items():
            parameter.data = parameter.data.to(own)
    else:
        trainer.save_model(str(folder))
    trainer.accelerator.wait_for_everyone()
    if trainer.args.process_index == 0:
        (folder / "training_args.bin").unlink(missing_ok=True)
        _name_base(folder, run.plan.model.source, run.plan.model.revision)
        save_classes(trainer.body, folder)
    run.result = folder
    return folder


def _let_it_stop(model: Any, ends: tuple[int, ...]) -> None:
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else list(ends)


def _name_base(folder: Path, source: str, revision: str) -> None:
    """Name the model that an adapter belongs to by its id: the local folder is of no use elsewhere."""
    path = folder / "adapter_config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": source, "revision": revision}
        write_atomic(path, json.dumps(config, indent=2, ensure_ascii=False))


class _AtBegin(TrainerCallback):
    """Checks that a sharded model is sharded, and judges it before the first step."""

    def __init__(self, run: TrainingRun, trainer: TutorTrainer, data: Prepared) -> None:
        self._run, self._trainer, self._data = run, trainer, data

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the wrapped model."""
        check_sharded(self._trainer, self._run.plan)
        sharded = self._run.plan.launch.sharding != "none"
        if sharded and not state.global_step and not self._run.judged_before():
            judge_now(self._run, self._trainer, self._data, "before")


def _block_class(model: Any) -> str:
    names = getattr(model, "_no_split_modules", None) or []
    return next(iter(names), "")
