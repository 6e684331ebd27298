"""What is broken, what is sound, and what the right answer is: declared before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Mend = Literal["plan", "code", "rows", "model"]
"""Who repairs it: a plan change of the tutor, or a person who mends the code or machine, rows or model."""


@dataclass(frozen=True)
class Case:
    """One short run."""

    name: str
    causes: tuple[str, ...] = ()
    """Slugs that name the fault rightly, the root cause first; none for a sound run."""
    told: str = ""
    """What has to be said by a refusal, the evidence, the story of the scene or the end, where the given
    vocabulary has no slug for the cause."""
    skill: str = "lora"
    task: str = "chat"
    changes: dict[str, Any] = field(default_factory=dict)
    """Plan fields, over the usual ones."""
    rows: str = "talks"
    """Recipe of the data (`fault_data`)."""
    model: str = "sound"
    """Recipe of the model (`fault_data`)."""
    sabotage: str = ""
    """What is done to the training process (`fault_sabotage`)."""
    resume_at: int = 0
    """Stop once this many steps are done, and go on."""
    began: int = 0
    """First step that the fault touches; 0 when it is there from the start."""
    abrupt: bool = True
    """Whether it can be seen within a few points; slow ones need a curve."""
    mend: Mend = "plan"
    lasting: bool = False
    """Whether the sabotage is there in the repaired run, too: the repair has to withstand it."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.causes or self.told)


def _slow(**others: Any) -> dict[str, Any]:
    return {"evaluation.every": 6, **others}


FAULTS = (
    Case("rate of LoRA", ("lr_too_high",), changes={"optim.learning_rate": 20.0}),
    Case(
        "rate of full tuning",
        ("lr_too_high",),
        skill="full-fine-tuning",
        changes={"optim.learning_rate": 0.3},
    ),
    Case(
        "rate of freezing",
        ("lr_too_high",),
        skill="layer-freezing",
        changes={"optim.learning_rate": 1.0},
    ),
    Case(
        "outlier without clipping",
        ("no_grad_clipping", "lr_too_high"),
        skill="full-fine-tuning",
        changes={
            "optim.max_grad_norm": 0,
            "optim.optimizer": "sgd",
            "optim.learning_rate": 0.02,
        },
        sabotage="outlier@20",
        began=20,
        lasting=True,
    ),
    Case(
        "rate too low",
        ("undertrained",),
        changes={"optim.learning_rate": 1e-9},
        abrupt=False,
    ),
    Case(
        "tiny data over-trained",
        ("overfitting", "bad_data"),
        skill="full-fine-tuning",
        rows="tiny",
        changes=_slow(**{"optim.learning_rate": 2e-3, "optim.max_steps": 90, "optim.epochs": 60}),
        abrupt=False,
    ),
    Case(
        "duplicated rows",
        ("bad_data", "overfitting"),
        skill="full-fine-tuning",
        rows="repeated",
        changes=_slow(**{"optim.learning_rate": 2e-3, "optim.max_steps": 80}),
        mend="rows",
    ),
    Case("garbled rows", ("bad_data",), rows="garbled", mend="rows"),
    Case(
        "labels drawn by chance",
        ("bad_data", "overfitting"),
        skill="full-fine-tuning",
        task="classification",
        rows="random-labels",
        changes=_slow(
            **{
                "model.head": "classifier",
                "optim.learning_rate": 1e-3,
                "optim.max_steps": 130,
                "optim.epochs": 20,
                "data.max_length": 32,
            }
        ),
        abrupt=False,
        mend="rows",
    ),
    Case("leaked test rows", ("eval_pipeline_mismatch",), rows="leaked", mend="rows"),
    Case(
        "empty answers",
        ("all_labels_masked",),
        told="no usable row|answer",
        rows="empty",
        mend="rows",
    ),
    Case("too few rows", ("dataset_too_small",), told="rows hold only", rows="two", mend="rows"),
    Case("foreign columns", ("wrong_column_names",), told="column", rows="columns", mend="rows"),
    Case(
        "tokens beyond the embedding",
        ("vocab_mismatch",),
        told="embedding|vocabulary",
        model="wide",
        rows="new-tokens",
        mend="model",
    ),
    Case(
        "foreign chat template",
        ("template_mismatch", "response_marker_mismatch"),
        model="foreign",
        mend="model",
    ),
    Case(
        "no end token",
        ("eos_missing_in_data",),
        told="end-of-sequence",
        model="endless",
        mend="model",
    ),
    Case(
        "NaN in the weights on disk",
        ("damaged_weights",),
        model="nan",
        mend="model",
    ),
    Case(
        "scrambled output head",
        ("tied_embeddings_overwritten", "nondeterministic_vocab", "vocab_mismatch"),
        model="scrambled",
        mend="model",
    ),
    Case(
        "one sample overflows",
        ("damaged_weights", "bad_data"),
        model="rare",
        rows="one-rare",
        abrupt=False,
        mend="model",
    ),
    Case(
        "weight poisoned",
        ("damaged_weights",),
        sabotage="nan-weight@20",
        began=20,
        mend="code",
    ),
    Case(
        "gradient poisoned",
        ("attention_kernel_numerics",),
        sabotage="nan-gradient@20",
        began=20,
    ),
    Case(
        "overflow by scale",
        ("fp16_overflow",),
        told="float16|fp16",
        sabotage="overflow@20",
        began=20,
    ),
    Case("everything frozen", ("nothing_trainable",), sabotage="frozen", mend="code"),
    Case(
        "adapters detached",
        ("adapters_detached", "nothing_trainable"),
        sabotage="detached@20",
        began=20,
        mend="code",
    ),
    Case(
        "rate falls to zero",
        ("lr_scheduler_misconfigured",),
        sabotage="rate-zero@20",
        began=20,
        mend="code",
    ),
    Case(
        "rate never decays",
        ("lr_scheduler_misconfigured",),
        sabotage="rate-constant@20",
        began=20,
        mend="code",
    ),
    Case(
        "loss times accumulation",
        ("loss_normalisation_bug",),
        sabotage="multiplied",
        changes={"optim.micro_batch": 1, "optim.accumulate": 4},
        mend="code",
    ),
    Case(
        "end tokens masked",
        ("eos_masked_by_pad", "eos_missing_in_data"),
        sabotage="no-ends",
        mend="code",
    ),
    Case(
        "slow loader",
        ("slow_data_loading", "memory_swapping"),
        sabotage="slow-data@40",
        began=40,
        changes={"optim.max_steps": 66},
        mend="code",
    ),
    Case(
        "memory grows",
        ("oom_host_ram", "memory_swapping"),
        sabotage="growth@10",
        began=10,
        changes={"optim.max_steps": 100},
        abrupt=False,
        mend="code",
    ),
    Case(
        "data replayed after a resume",
        ("resume_replays_data",),
        sabotage="replay",
        resume_at=22,
        changes={"optim.max_steps": 200, "optim.epochs": 8, "evaluation.every": 20},
        mend="code",
    ),
    Case(
        "resume without optimizer",
        ("resume_not_requested",),
        sabotage="forget-optimizer",
        resume_at=22,
        changes={"optim.max_steps": 200, "optim.epochs": 8, "evaluation.every": 20},
        mend="code",
    ),
    Case(
        "checkpoint cut",
        ("disk_full",),
        told="cannot be relied on|could not be written",
        sabotage="cut-save@15",
        began=15,
        changes={"evaluation.every": 15},
        mend="code",
    ),
    Case(
        "bit flipped in a checkpoint",
        ("disk_full",),
        told="cannot be relied on|could not be written",
        sabotage="flipped-save@15",
        began=15,
        changes={"evaluation.every": 15},
        mend="code",
    ),
    Case(
        "disk full",
        ("disk_full",),
        sabotage="full-disk@30",
        began=30,
        changes={"evaluation.every": 15},
        mend="code",
    ),
    Case(
        "rank killed",
        ("oom_host_ram",),
        told="SIGKILL",
        sabotage="kill-rank@20",
        began=20,
        changes={"launch.processes": 2, "evaluation.every": 15},
        mend="code",
    ),
    Case(
        "rank stalled",
        ("rank_desync",),
        sabotage="stall-rank@20",
        began=20,
        changes={"launch.processes": 2, "evaluation.every": 15},
        mend="code",
    ),
    Case(
        "host memory refused",
        ("oom_host_ram",),
        sabotage="no-memory@20",
        began=20,
        mend="code",
    ),
)

HEALTHY = (
    Case("LoRA"),
    Case("full tuning", skill="full-fine-tuning"),
    Case("freezing", skill="layer-freezing"),
    Case("one sample a step", changes={"optim.micro_batch": 1, "optim.max_steps": 120}),
    Case("long warm-up", changes={"optim.warmup": 30}),
    Case("stairs of epochs", changes={"optim.epochs": 4, "optim.max_steps": 120}),
    Case("packing", changes={"data.packing": True, "optim.epochs": 12, "optim.max_steps": 60}),
    Case("a spike that heals", sabotage="bad-batch@40", changes={"optim.max_steps": 90}),
    Case("stopped and resumed", resume_at=22, changes={"optim.max_steps": 200, "optim.epochs": 8}),
    Case("two ranks", changes={"launch.processes": 2}),
    Case("accumulation", changes={"optim.micro_batch": 1, "optim.accumulate": 4}),
    Case("constant rate", changes={"optim.schedule": "constant"}),
    Case("linear rate", changes={"optim.schedule": "linear"}),
    Case("late decay", changes={"optim.schedule": "warmup_stable_decay"}),
    Case("brisk rate", changes={"optim.learning_rate": 4e-3}),
    Case("plain gradient descent", changes={"optim.optimizer": "sgd", "optim.learning_rate": 0.1}),
    Case("adafactor", changes={"optim.optimizer": "adafactor"}),
    Case("batches by length", changes={"data.batching": "by_length"}),
    Case("checkpointing", changes={"launch.checkpointing": True}),
    Case("no clipping", changes={"optim.max_grad_norm": 0}),
    Case("no early end, many evaluations", changes={"evaluation.every": 5}),
    Case("plain text", task="pretraining", rows="passages", changes={"data.packing": True}),
    Case(
        "classes with a head",
        task="classification",
        skill="full-fine-tuning",
        rows="labels",
        changes={"model.head": "classifier", "data.max_length": 64},
    ),
    Case("a dozen steps", changes={"optim.max_steps": 12}),
    Case("another seed, skipping", changes={"optim.seed": 7, "guard.non_finite": "skip"}),
    Case("some repeated rows", rows="some-repeated"),
)

CASES = (*FAULTS, *HEALTHY)
