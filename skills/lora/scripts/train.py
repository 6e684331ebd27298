"""Train low-rank adapters beside frozen weights. Reads top to bottom.

Run by torch.distributed.run, one process per device: train.py --run RUN --model DIR [--resume CHECKPOINT]
"""

from __future__ import annotations

from tutor_agent.core.ranks import enter_rank, leave_rank

# Before the heavy imports: from here on this process is on record and its output is kept.
PLACE = enter_rank()

from tutor_agent.data.audit import refuse_unlearnable  # noqa: E402
from tutor_agent.data.prepare import prepare  # noqa: E402
from tutor_agent.training.adapters import LoraSettings, adapter_names, add_adapters  # noqa: E402
from tutor_agent.training.audit import audit_trainable, refuse_surprises  # noqa: E402
from tutor_agent.training.entry import TrainingRun, read_options  # noqa: E402
from tutor_agent.training.model import load_model, load_tokenizer, precision_of  # noqa: E402
from tutor_agent.training.quantised import packed_loading, settle_packed  # noqa: E402
from tutor_agent.training.session import (  # noqa: E402
    judge,
    make_trainer,
    report_audit,
    save_result,
    train,
)


def main() -> int:
    """Train the adapters of one plan; the run folder tells everything else."""
    options = read_options("lora")
    run = TrainingRun.open(options, PLACE)
    with run:
        settings = LoraSettings.parse(run.plan.params, "params")
        precision = precision_of(run.plan)

        # What the model will read, and what it is to learn from it.
        tokenizer = load_tokenizer(options.model)
        data = prepare(run.plan, tokenizer)
        refuse_unlearnable(data.audit)

        # Frozen weights, packed if the plan says so, and adapters that move.
        loading = packed_loading(settings.quantization, run.plan, precision)
        frozen = load_model(run.plan, options.model, precision.weights, data.head, **loading)
        packing = [settle_packed(frozen, settings.quantization)] if loading else []
        model, notes = add_adapters(frozen, settings)
        audit = audit_trainable(model)
        refuse_surprises(audit, adapters=True)

        trainer = make_trainer(run, model, tokenizer, data, precision)
        report_audit(run, data, audit, adapter_names(model))
        for note in (*packing, *notes):
            run.recorder.note(note)

        judge(run, trainer, data, "before")
        if train(run, trainer):
            save_result(run, trainer, data.encoder.ends)
            judge(run, trainer, data, "after")
    return run.exit_code


if __name__ == "__main__":
    leave_rank(main())
