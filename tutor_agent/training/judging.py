"""The figures on rows that the model never saw, before and after training, and answers to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tutor_agent.core.metric_names import METRICS, metrics_of
from tutor_agent.core.text import Text
from tutor_agent.data.classes import ClassEncoder, class_of
from tutor_agent.data.collate import one_each
from tutor_agent.training.classifier import ClassTally, choose_rows
from tutor_agent.training.generate import Answered, Writer, question_and_answer
from tutor_agent.training.metrics import KNOWN, chosen, needs_answers
from tutor_agent.training.scoring import ClassFigures, class_figures, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.data.prepare import Prepared
    from tutor_agent.training.entry import TrainingRun
    from tutor_agent.training.trainer import TutorTrainer


def names_of(run: TrainingRun) -> tuple[str, ...]:
    """Return the metrics that `run` is judged by, and note those that cannot be measured."""
    plan = run.plan
    names = metrics_of(plan.task, plan.evaluation.metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        run.recorder.note(
            Text(
                en=f"There are no such metrics: {', '.join(unknown)}. Known: {', '.join(METRICS)}.",
                zh=f"没有这些指标：{'、'.join(unknown)}。可用：{'、'.join(METRICS)}。",
            )
        )
    writes = plan.model.head == "language_model"
    silent = [name for name in names if needs_answers([name]) and name not in KNOWN]
    if silent and writes and not plan.evaluation.generated_rows:
        run.recorder.note(
            Text(
                en=f"evaluation.generated_rows is 0, so no answers are written and not measured are: {', '.join(silent)}.",
                zh=f"evaluation.generated_rows 为 0，不生成回答，因此不测量：{'、'.join(silent)}。",
            )
        )
    return tuple(name for name in names if name in METRICS)


def judge_now(run: TrainingRun, trainer: TutorTrainer, data: Prepared, phase: str) -> None:
    """Write the held-out figures and a few answers with the present weights; all ranks share the work."""
    names = trainer.watch.metrics
    tally = trainer.tally(one_each(data.test))
    figures: dict[str, Any] = {**chosen(tally.figures(), names)}
    answered: list[Answered] = []
    if not run.stop.agreed(trainer.args.device):
        if isinstance(tally, ClassTally):
            figures |= _named(tally.by_class())
            answered = _chosen_classes(run, trainer, data)
        else:
            answered = _written(run, trainer, data)
            rows = run.plan.evaluation.generated_rows
            figures |= _scored(run, answered[:rows], names) if needs_answers(names) else {}
    run.recorder.write("evaluation", sync=True, split="test", phase=phase, **figures)
    for said in answered[: run.plan.evaluation.samples]:
        run.recorder.write(
            "sample", phase=phase, prompt=said.prompt, answer=said.answer, reference=said.reference
        )


def _written(run: TrainingRun, trainer: TutorTrainer, data: Prepared) -> list[Answered]:
    """Return written answers: as many as the metrics need, or only those to be read."""
    plan = run.plan.evaluation
    judged = plan.generated_rows if needs_answers(trainer.watch.metrics) else 0
    rows = data.test_rows[: max(judged, plan.samples)]
    together = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    writer = Writer(_model(trainer), data.encoder, plan.max_new_tokens, _half(trainer), together)
    return writer.answer(rows, lambda: run.stop.agreed(trainer.args.device)) or []


def _scored(run: TrainingRun, answered: Sequence[Answered], names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of written answers; those of each class too."""
    if not answered or run.place.rank:
        return {}
    answers = [one.answer for one in answered]
    references = [one.reference for one in answered]
    accepted = [one.accepted for one in answered]
    found: dict[str, Any] = {**score(answers, references, run.plan.task, names, accepted)}
    if run.plan.task == "classification":
        found |= _named(class_figures(answers, references))
    return {**found, "answered": len(answered)}


def _named(figures: dict[str, ClassFigures]) -> dict[str, Any]:
    return {
        "classes": {
            name: {
                "precision": round(one.precision, 4),
                "recall": round(one.recall, 4),
                "f1": round(one.f1, 4),
                "rows": one.rows,
            }
            for name, one in figures.items()
        }
    }


def _chosen_classes(run: TrainingRun, trainer: TutorTrainer, data: Prepared) -> list[Answered]:
    encoder = data.encoder
    if not isinstance(encoder, ClassEncoder):
        return []
    rows = data.test_rows[: run.plan.evaluation.samples]
    said = choose_rows(_model(trainer), encoder, rows, half=_half(trainer))
    return [
        Answered(question_and_answer(row)[0], name, class_of(row.sample))
        for row, name in zip(rows, said, strict=True)
    ]


def _half(trainer: TutorTrainer) -> torch.dtype | None:
    arguments = trainer.args
    return torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None


def _model(trainer: TutorTrainer) -> Any:
    """Return the model without its wrapper, unless that is what gathers its weights."""
    model: Any = trainer.model
    return model if trainer.is_fsdp_enabled else trainer.accelerator.unwrap_model(model)
