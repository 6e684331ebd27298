"""The plan: everything a run needs to know, on one page of YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import yaml
from pydantic import Field, JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

Task = Literal["chat", "completion", "pretraining", "classification", "qa", "summarization"]
Dtype = Literal["auto", "bf16", "fp16", "fp32"]
Attention = Literal["sdpa", "flash", "flex", "eager"]
Sharding = Literal["none", "fsdp2", "zero2", "zero3"]
Schedule = Literal["cosine", "linear", "constant", "warmup_stable_decay"]
Tracker = Literal["tensorboard", "wandb", "swanlab", "mlflow", "trackio"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"]
DataFormat = Literal["auto", "messages", "sharegpt", "alpaca", "pairs", "text", "labelled"]


class ModelChoice(Contract):
    """Which model, at which precision."""

    source: str = Field(min_length=1)
    """A local folder, or a model id such as `deepseek-ai/deepseek-llm-7b-chat`."""
    revision: str = "main"
    """The commit, tag or branch of the model repository."""
    dtype: Dtype = "auto"
    """Compute precision; `auto` takes bf16 where the hardware has it, else fp32."""
    attention: Attention = "sdpa"
    """Attention implementation; `flash` and `flex` need a GPU."""
    head: Literal["language_model", "classifier"] = "language_model"
    """What sits on top: the vocabulary, or one score a class (sequence classification)."""
    liger: bool = False
    """Fused Liger kernels for norm, rotary embedding, MLP and loss; needs a GPU and `liger-kernel`."""
    compile: bool = False
    """Compile the model with torch.compile: a slow first step, faster later ones."""


class DataChoice(Contract):
    """What is read, and which part of it is learnt."""

    train: str = Field(min_length=1)
    """File with the training rows (CSV, JSONL or Parquet)."""
    validation: str | None = None
    """File for evaluation while training; when absent, `holdout` of the rows."""
    test: str | None = None
    """File for the final before/after figure; when absent, another `holdout` of the rows."""
    holdout: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the rows put aside for validation, and again for the test, when they have no file."""
    format: DataFormat = "auto"
    """Shape of a row."""
    columns: dict[str, str] = {}
    """Which column plays which part: system, prompt, completion, context, text, label, messages."""
    max_length: int = Field(default=1024, ge=8)
    """Longest sample in tokens; longer ones are cut at the prompt, never at the answer's end."""
    packing: bool = False
    """Join short samples into full sequences without cross-talk."""
    batching: Literal["random", "by_length"] = "random"
    """Which samples share a batch: any, or those of similar length (less padding); idle with packing."""
    supervise: Literal["assistant", "last", "all"] = "assistant"
    """Which tokens carry loss: all answers, the last answer, or every token."""
    limit: int | None = Field(default=None, ge=1)
    """Use at most this many rows (after shuffling by the seed)."""


class OptimChoice(Contract):
    """How the weights move."""

    optimizer: Optimizer = "adamw"
    """Optimizer; the 8-bit ones need CUDA."""
    learning_rate: float = Field(gt=0, le=1000)
    """Peak learning rate."""
    schedule: Schedule = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(default=0.03, ge=0)
    """Warm-up: below 1 a share of all steps, else a number of steps."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Pull of every weight towards zero."""
    epochs: float = Field(default=2.0, gt=0)
    """Passes over the training rows."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps, whatever `epochs` says."""
    micro_batch: int = Field(default=4, ge=1)
    """Samples per forward pass on one process."""
    accumulate: int = Field(default=1, ge=1)
    """Forward passes per optimizer step."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradient clipping threshold; 0 switches it off."""
    seed: int = Field(default=42, ge=0)
    """Seed of the split, the shuffling and the new weights."""
    deterministic: bool = False
    """Use only kernels that give the same bits every time: slower, for exact comparison."""


class LaunchChoice(Contract):
    """Where it runs, on how many devices."""

    where: str = "local"
    """`local`, or the name of a cluster in the configuration."""
    nodes: int = Field(default=1, ge=1)
    """Machines."""
    processes: int = Field(default=1, ge=1)
    """Processes per machine: one per GPU."""
    sharding: Sharding = "none"
    """How model states are spread over processes; `none` with several processes is DDP."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    offload: Literal["none", "cpu"] = "none"
    """Where optimizer states live."""


class EvaluationChoice(Contract):
    """When it is judged, and what is kept."""

    every: float = Field(default=0.1, gt=0)
    """Evaluate and save: below 1 a share of all steps, else a number of steps."""
    metrics: tuple[str, ...] = ("perplexity",)
    """What is measured beside the loss."""
    early_stopping: int | None = Field(default=3, ge=1)
    """Stop after this many evaluations without improvement; null never stops early."""
    keep: Literal["best", "last"] = "best"
    """Which checkpoint becomes the result."""
    samples: int = Field(default=2, ge=0)
    """Answers generated before and after, to be read side by side."""
    max_rows: int = Field(default=200, ge=1)
    """Rows used in one evaluation at most."""
    generated_rows: int = Field(default=32, ge=0)
    """Rows answered in full for the metrics that read answers (BLEU, ROUGE, F1 …), before and after."""
    max_new_tokens: int = Field(default=128, ge=1)
    """Longest generated answer in tokens."""


class GuardChoice(Contract):
    """What happens when numbers go wrong."""

    non_finite: Literal["stop", "skip"] = "stop"
    """On the first NaN or infinity: stop before the step, or leave the batch out."""
    autopilot: Literal["ask", "bounded"] = "ask"
    """`ask` proposes repairs; `bounded` applies safe ones by itself, at most three along a line of runs."""


class Plan(Contract):
    """Which skill, on what, how."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Short name; the run folder is called after it."""
    skill: str
    """The training skill that runs: lora, full-fine-tuning, layer-freezing."""
    params: dict[str, JsonValue] = {}
    """That skill's own parameters."""
    task: Task
    """What the model is to learn to do."""
    model: ModelChoice
    """Which model, at which precision."""
    data: DataChoice
    """What is read, and which part of it is learnt."""
    optim: OptimChoice
    """How the weights move."""
    launch: LaunchChoice = LaunchChoice()
    """Where it runs, on how many devices."""
    evaluation: EvaluationChoice = EvaluationChoice()
    """When it is judged, and what is kept."""
    guard: GuardChoice = GuardChoice()
    """What happens when numbers go wrong."""
    trackers: tuple[Tracker, ...] = ()
    """Experiment trackers that receive the figures too; each must be installed."""

    @property
    def world_size(self) -> int:
        """Processes on all machines together."""
        return self.launch.nodes * self.launch.processes

    @property
    def effective_batch(self) -> int:
        """Samples per optimizer step over all processes."""
        return self.optim.micro_batch * self.optim.accumulate * self.world_size

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan from YAML.

        Raises:
            NotFoundError: No file at `path`.
            UnreadableError: The file is not YAML.
            InvalidPlanError: A key or a value is not allowed.
        """
        if not path.is_file():
            raise NotFoundError(
                f"No plan at {str(path)!r}. Make one with `tutor plan … -o {path.name}`.",
                f"{str(path)!r} 处没有计划文件。可用 `tutor plan … -o {path.name}` 生成。",
            )
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{path} is not a readable YAML file: {error}. Mend that line, or make the plan anew.",
                f"{path} 不是可读的 YAML 文件：{error}。请修正该行，或重新生成计划。",
            ) from None
        return cls.parse(data, str(path))

    def save(self, path: Path) -> None:
        """Write the plan as YAML, whole or not at all."""
        write_atomic(path, self.to_yaml())

    def to_yaml(self) -> str:
        """Return the plan as YAML in the order of its fields."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
