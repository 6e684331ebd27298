"""transformers' Trainer with the guard in front of the optimizer, exact losses and safe checkpoints."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import Trainer

from tutor_agent.core.checkpoints import last_good, step_of
from tutor_agent.core.errors import HaltedError
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text
from tutor_agent.data.collate import Batch, Collator, Item, one_each
from tutor_agent.data.labels import Example, filler
from tutor_agent.training.drill import read_back
from tutor_agent.training.guard import REASONS
from tutor_agent.training.losses import token_losses
from tutor_agent.training.metrics import chosen, tally_for
from tutor_agent.training.model import pad_id
from tutor_agent.training.scene import Moment, keep_scene
from tutor_agent.training.weights import once_each, own_names, refuse_missing_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.data.order import ByLength
    from tutor_agent.training.checkpoints import Checkpoints
    from tutor_agent.training.classifier import ClassTally
    from tutor_agent.training.guard import Guard, Verdict
    from tutor_agent.training.metrics import Tally
    from tutor_agent.training.recorder import Recorder


_NAMED = 5


@dataclass(frozen=True)
class Watch:
    """Everything that looks after a run while the trainer works."""

    guard: Guard
    recorder: Recorder
    checkpoints: Checkpoints
    tokenizer: PreTrainedTokenizerBase
    metrics: tuple[str, ...]


class TutorTrainer(Trainer):
    """A Trainer whose every step is judged before it is taken.

    The loss is the mean over all supervised tokens of the global batch, however it is cut into
    micro-batches and processes.
    """

    def __init__(
        self,
        *,
        watch: Watch,
        validation: Sequence[Example],
        collator: Collator,
        order: ByLength | None = None,
        **trainer: Any,
    ) -> None:
        held_out: Any = one_each(validation)
        self._order = order
        super().__init__(data_collator=collator, eval_dataset=held_out, **trainer)
        self.watch = watch
        # The batch is normalised here, whether or not the model's own loss could do it.
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the order of the plan: by length, or the usual random one."""
        return super()._get_train_sampler(train_dataset) if self._order is None else self._order

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of one micro-batch as its share of the global batch."""
        found = token_losses(model, inputs, self.body)
        items = num_items_in_batch
        if items is None:
            items = (found.targets_bk != -100).sum()
        # Gradients are averaged over processes, and the items are counted over all of them.
        loss = found.total / torch.as_tensor(items).clamp(min=1) * self.accelerator.num_processes
        if found.extra is not None:
            loss = loss + found.extra / self.args.gradient_accumulation_steps
        if self.is_deepspeed_enabled:
            self._stop_before_backward(inputs, loss)
        return (loss, found) if return_outputs else loss

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one micro-batch and show it to the guard."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.watch.guard.saw(inputs, loss)
        if self.watch.guard.on_non_finite == "stop":
            return loss
        # A batch that is left out must not poison the running sum that is logged.
        return torch.where(torch.isfinite(loss), loss, 0.0)

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        """Take the gradient norm, which is known right before the step, and judge the step by it."""
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)
        if self._step_was_refused():
            norm = math.nan
        guard = self.watch.guard
        verdict = guard.judge(norm)
        if verdict == "skip":
            model.zero_grad(set_to_none=True)
            self._note_skipped()
        elif verdict != "go":
            raise self._halt(verdict)
        guard.next_step()
        return norm

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Judge the validation examples while training; the loss is a mean over tokens."""
        del eval_dataset, ignore_keys
        figures = self.judge(self.eval_dataset)
        self.watch.recorder.write(
            "evaluation", split="validation", phase="during", sync=False, **figures
        )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def judge(self, items: Any) -> dict[str, float]:
        """Return loss and metrics of held-out items with the present weights; all ranks share the work."""
        return chosen(self.tally(items).figures(), self.watch.metrics)

    def tally(self, items: Any) -> Tally | ClassTally:
        """Return the counts behind `judge`."""
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        model: Any = self.model_wrapped if sharded else self.model
        was_training = model.training
        model.eval()
        tally = tally_for(self.body, self.args.device)
        with torch.no_grad(), self._precision():
            for batch in self._held_out(list(items)):
                tally.add(token_losses(model, batch, self.body))
        model.train(was_training)
        tally.share()
        return tally

    @property
    def body(self) -> torch.nn.Module:
        """Return the causal language model inside all wrappers."""
        model: Any = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _held_out(self, items: list[Item]) -> Iterator[Batch]:
        """Yield this rank's batches, similar lengths together, as many as on every other rank."""
        size, world = self.args.per_device_train_batch_size, self.args.world_size
        pad = pad_id(self.watch.tokenizer)
        items = sorted(items, key=lambda item: sum(len(example.ids) for example in item))
        items += [(filler(pad),)] * (-len(items) % (size * world))
        collate = Collator(pad)
        for i in range(self.args.process_index * size, len(items), size * world):
            batch = collate(items[i : i + size])
            yield {key: value.to(self.args.device) for key, value in batch.items()}

    def _precision(self) -> Any:
        return self.accelerator.autocast() if self.args.bf16 or self.args.fp16 else nullcontext()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save, verify and mark; a save that fails leaves nothing that looks like a checkpoint."""
        checkpoints, rank0 = self.watch.checkpoints, self.args.process_index == 0
        if not self.all_agree(checkpoints.has_room()):
            raise checkpoints.no_room()
        checkpoint = checkpoints.folder / f"checkpoint-{self.state.global_step}"
        began = time.perf_counter()
        try:
            with own_names(self.model):
                super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise checkpoints.cut(checkpoint, error) from error
        self.accelerator.wait_for_everyone()
        seconds, drill = time.perf_counter() - began, not checkpoints.drilled
        unwrapped = self.accelerator.unwrap_model(self.model)
        faults = read_back(unwrapped, checkpoint, first=rank0) if drill else []
        faults += checkpoints.faults(checkpoint) if rank0 else []
        if not self.all_agree(not faults):
            raise checkpoints.broken(checkpoint, faults)
        checkpoints.drilled = True
        if rank0:
            guard, history = self.watch.guard, self.state.log_history
            checkpoints.accept(
                checkpoint,
                seconds=seconds,
                drilled=drill,
                sane=guard.sane([entry["eval_loss"] for entry in history if "eval_loss" in entry]),
                loss=guard.losses[-1] if guard.losses else None,
            )
            best = self.state.best_model_checkpoint
            checkpoints.prune(Path(best) if best else None)
        self.accelerator.wait_for_everyone()

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Write the weights, each of them once."""
        super()._save(output_dir, once_each(self.model, state_dict) if state_dict else state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a checkpoint that does not bring all weights; a warning would train on with others."""
        refuse_missing_weights(self.model, load_result.missing_keys, load_result.unexpected_keys)

    def all_agree(self, here: bool) -> bool:
        """Return whether `here` holds on every rank; all of them ask at the same place."""
        if self.args.world_size == 1:
            return here
        flag = torch.tensor([int(here)], device=self.args.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MIN)
        return bool(flag.item())

    def _stop_before_backward(self, inputs: Batch, loss: torch.Tensor) -> None:
        """Judge the loss alone: under DeepSpeed the backward pass takes the step by itself."""
        if not self.all_agree(bool(torch.isfinite(loss))):
            self.watch.guard.saw(inputs, loss)
            self.watch.guard.judge(math.nan)
            raise self._halt("non_finite_loss")

    def _step_was_refused(self) -> bool:
        """Return whether DeepSpeed left the step out by itself; the norm it tells is then an older one."""
        engine: Any = self.deepspeed
        return engine is not None and bool(getattr(engine.optimizer, "overflow", False))

    def _note_skipped(self) -> None:
        rows = [
            row for batch in self.watch.guard.batches for row in batch["rows"].flatten().tolist()
        ]
        listed = ", ".join(str(row) for row in rows if row >= 0)
        step = self.state.global_step + 1
        self.watch.recorder.note(
            Text(
                en=f"Step {step} was not finite and was left out; rows of this process: {listed}.",
                zh=f"第 {step} 步出现非有限数，已跳过；本进程的数据行：{listed}。",
            )
        )

    def _halt(self, verdict: Verdict) -> HaltedError:
        """Keep the scene on every rank, let the first rank in trouble sign it, and explain."""
        guard, run = self.watch.guard, self.watch.checkpoints.folder.parent
        facts = guard.facts
        loss, norm = (facts.loss, facts.grad_norm) if facts else (math.nan, math.nan)
        step, rank = self.state.global_step + 1, self.args.process_index
        # A loss that is a number was counted already when it was judged too high.
        before = guard.losses[:-1] if verdict == "diverged" else guard.losses
        moment = Moment(
            verdict, step, rank, self._get_learning_rate(), guard.loss_of_step, norm, before
        )
        scene = run / "scene"
        alone = not (self.is_fsdp_enabled or self.is_deepspeed_enabled)
        model = self.accelerator.unwrap_model(self.model)
        here = keep_scene(scene, moment, model, guard.batches, self.watch.tokenizer, rerun=alone)
        signer = self._first_rank(here)
        own = json.loads((scene / f"rank-{rank}" / "scene.json").read_text(encoding="utf-8"))
        if rank == signer:
            files = {key: f"rank-{rank}/{name}" for key, name in own["files"].items()}
            write_atomic(
                scene / "scene.json", json.dumps({**own, "files": files}, ensure_ascii=False)
            )
        text = REASONS[verdict].format(step=step, loss=loss, chance=math.log(guard.vocabulary))
        good = last_good(self.watch.checkpoints.folder)
        recorder = self.watch.recorder
        recorder.step = self.state.global_step
        recorder.write(
            "halted",
            sync=True,
            reason=verdict,
            text_en=text.en,
            text_zh=text.zh,
            loss=loss,
            grad_norm=norm,
            scene="scene",
            damaged_weights=own["weights_non_finite"][:_NAMED],
            broke_in=own["first_non_finite"],
            last_good=f"{good.parent.name}/{good.name}" if good else None,
            last_good_step=step_of(good) if good else None,
        )
        return HaltedError(text.en, text.zh, cause=verdict)

    def _first_rank(self, here: bool) -> int:
        """Return the lowest rank on which the trouble began, 0 when it shows on none."""
        rank, world = self.args.process_index, self.args.world_size
        if world == 1:
            return rank
        flag = torch.tensor([rank if here else world], device=self.args.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MIN)
        return int(flag.item()) % world
