"""Train the top blocks of a model and leave the rest as it is. Reads top to bottom.

Run by torch.distributed.run, one process per device: train.py --run RUN --model DIR [--resume CHECKPOINT]
"""

from __future__ import annotations

from tutor_agent.core.ranks import enter_rank, leave_rank

# Before the heavy imports: from here on this process is on record and its output is kept.
PLACE = enter_rank()

import torch  # noqa: E402
from pydantic import Field  # noqa: E402

from tutor_agent.core.contract import Contract  # noqa: E402
from tutor_agent.data.audit import refuse_unlearnable  # noqa: E402
from tutor_agent.data.prepare import prepare  # noqa: E402
from tutor_agent.training.audit import audit_trainable, refuse_surprises  # noqa: E402
from tutor_agent.training.entry import TrainingRun, read_options  # noqa: E402
from tutor_agent.training.model import (  # noqa: E402
    dtype_on_disk,
    load_model,
    load_tokenizer,
    precision_of,
    rest_unreached,
    settle_frozen,
    train_parts,
    train_top,
)
from tutor_agent.training.session import (  # noqa: E402
    judge,
    make_trainer,
    report_audit,
    save_result,
    train,
)


class FreezingSettings(Contract):
    """Which blocks learn."""

    train_last: int = Field(default=2, ge=0)
    """How many of the last blocks move; the final normalisation moves with them, if any does."""
    train_embeddings: bool = False
    """Whether the input embedding moves."""
    train_head: bool = False
    """Whether the output head moves (one with the embedding where they are tied)."""
    train_modules: list[str] = []
    """Parts that move besides, by name."""


def main() -> int:
    """Train the top of a model for one plan; the run folder tells everything else."""
    options = read_options("layer-freezing")
    run = TrainingRun.open(options, PLACE)
    with run:
        settings = FreezingSettings.parse(run.plan.params, "params")
        precision = precision_of(run.plan)

        # What the model will read, and what it is to learn from it.
        tokenizer = load_tokenizer(options.model)
        data = prepare(run.plan, tokenizer)
        refuse_unlearnable(data.audit)

        # The backward pass ends at the lowest block that moves: this is where the memory is saved.
        model = load_model(run.plan, options.model, torch.float32, data.head)
        train_top(
            model,
            settings.train_last,
            embeddings=settings.train_embeddings,
            head=settings.train_head,
        )
        train_parts(model, settings.train_modules)
        notes = rest_unreached(model)
        settle_frozen(model, precision.weights)
        audit = audit_trainable(model)
        refuse_surprises(audit, adapters=False)

        trainer = make_trainer(run, model, tokenizer, data, precision)
        report_audit(run, data, audit)
        for note in notes:
            run.recorder.note(note)

        judge(run, trainer, data, "before")
        if train(run, trainer):
            save_result(run, trainer, data.encoder.ends, dtype_on_disk(options.model))
            judge(run, trainer, data, "after")
    return run.exit_code


if __name__ == "__main__":
    leave_rank(main())
