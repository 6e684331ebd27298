"""Train every weight of a model. Reads top to bottom.

Run by torch.distributed.run, one process per device: train.py --run RUN --model DIR [--resume CHECKPOINT]
"""

from __future__ import annotations

from tutor_agent.core.ranks import enter_rank, leave_rank

# Before the heavy imports: from here on this process is on record and its output is kept.
PLACE = enter_rank()

import torch  # noqa: E402

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
    train_weights,
)
from tutor_agent.training.session import (  # noqa: E402
    judge,
    make_trainer,
    report_audit,
    save_result,
    train,
)


class FullSettings(Contract):
    """Full fine-tuning has no parameters of its own."""


def main() -> int:
    """Train all weights for one plan; the run folder tells everything else."""
    options = read_options("full-fine-tuning")
    run = TrainingRun.open(options, PLACE)
    with run:
        FullSettings.parse(run.plan.params, "params")
        precision = precision_of(run.plan)

        # What the model will read, and what it is to learn from it.
        tokenizer = load_tokenizer(options.model)
        data = prepare(run.plan, tokenizer)
        refuse_unlearnable(data.audit)

        # Every weight moves, in fp32; the products are computed in the plan's precision.
        model = load_model(run.plan, options.model, torch.float32, data.head)
        train_weights(model.parameters())
        notes = rest_unreached(model)
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
