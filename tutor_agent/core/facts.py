"""What is: the goal, the machine, the model, the data."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.plan import DataFormat, Task
from tutor_agent.core.text import Language, Text


class Goal(Contract):
    """What the person wants."""

    task: Task | None = None
    """What the model is to learn to do; None when it has not been said."""
    domain: str | None = None
    """The field of knowledge, in the person's words."""
    language: Language = "en"
    """The language of the conversation."""
    wish: Literal["balanced", "quality", "speed", "cost"] = "balanced"
    """What matters most."""
    skill: str | None = None
    """A training skill the person asked for."""
    max_hours: float | None = None
    """The longest the run may take."""
    words: str = ""
    """The request as it was said."""


class Accelerator(Contract):
    """One GPU or NPU."""

    name: str
    """Product name, such as `NVIDIA A100-SXM4-80GB`."""
    vendor: Literal["nvidia", "amd", "ascend", "apple", "intel"] = "nvidia"
    """Who made it."""
    memory_gib: float
    """Memory in GiB."""
    free_gib: float | None = None
    """Free memory in GiB; None when unknown (a described machine)."""
    capability: str | None = None
    """CUDA compute capability, such as `8.0`."""
    bf16: bool = True
    """Whether it computes in bf16."""
    tflops: float | None = None
    """Dense bf16 (or fp16) peak in TFLOP/s; None when unknown."""
    utilisation: float | None = None
    """Share of time busy, 0..1, when measured."""


class Machine(Contract):
    """One computer."""

    accelerators: tuple[Accelerator, ...] = ()
    """GPUs or NPUs; empty is fine."""
    cpu: str = "unknown"
    """Processor name."""
    cores: int = 1
    """Usable cores."""
    cpu_bf16: bool = False
    """Whether the processor has bf16 instructions."""
    ram_gib: float = 0.0
    """Memory in GiB."""
    free_ram_gib: float = 0.0
    """Free memory in GiB."""
    free_disk_gib: float = 0.0
    """Free disk in the workspace in GiB."""
    link: Literal["none", "pcie", "nvlink", "hccs", "unknown"] = "unknown"
    """How accelerators are connected."""
    system: str = ""
    """Operating system and Python version."""
    packages: dict[str, str] = {}
    """Installed versions of the training stack."""
    described: bool = False
    """True when it comes from words such as `4xA100-80G`, not from looking."""
    warnings: tuple[Text, ...] = ()
    """What could not be read, and what to do about it."""


class Cluster(Contract):
    """Several computers under one scheduler."""

    name: str
    """Name in the configuration."""
    scheduler: Literal["slurm", "ssh"]
    """Who starts jobs."""
    node: Machine
    """What one node has."""
    nodes: int
    """How many nodes may be used."""


class Experts(Contract):
    """The mixture-of-experts part of a model."""

    routed: int
    """Routed experts in a layer."""
    active: int
    """Routed experts used for a token."""
    shared: int = 0
    """Experts used for every token."""
    intermediate: int
    """Width of one expert."""
    first_dense_layers: int = 0
    """Leading layers without experts."""


class LatentAttention(Contract):
    """Multi-head latent attention (DeepSeek V2 and later)."""

    q_rank: int | None = None
    """Rank of the compressed query; None when it is not compressed."""
    kv_rank: int
    """Rank of the compressed key and value."""
    nope_dim: int
    """Query/key width per head without position."""
    rope_dim: int
    """Query/key width per head with rotary position."""
    v_dim: int
    """Value width per head."""


class Shape(Contract):
    """Architecture numbers."""

    layers: int
    """Transformer layers."""
    hidden: int
    """Width of the residual stream (embedding width)."""
    heads: int
    """Attention heads."""
    kv_heads: int
    """Key/value heads."""
    head_dim: int
    """Width of a head."""
    intermediate: int
    """Width of the dense MLP."""
    vocab: int
    """Vocabulary entries."""
    tied: bool = False
    """Whether input embedding and output head are one matrix."""
    gated: bool = True
    """Whether the MLP is gated (SwiGLU)."""
    max_positions: int = 0
    """Longest context in tokens; 0 when not stated."""
    experts: Experts | None = None
    """Mixture of experts, if any."""
    latent: LatentAttention | None = None
    """Latent attention, if any."""


class Parameters(Contract):
    """How many weights, where."""

    total: int
    """All parameters."""
    active: int
    """Parameters used for one token."""
    embedding: int = 0
    """The input embedding."""
    parts: dict[str, int] = {}
    """Parameters per part: embedding, attention, mlp, experts, norm, head."""


class ModelFacts(Contract):
    """What is known of a model without loading its weights."""

    name: str
    """Id or folder name."""
    source: str
    """What the person named."""
    path: str | None = None
    """Local folder; None for a model known from the catalogue only."""
    architecture: str = ""
    """Model class, such as `LlamaForCausalLM`."""
    model_type: str = ""
    """transformers' `model_type`."""
    shape: Shape
    """Architecture numbers."""
    parameters: Parameters
    """How many weights, where."""
    dtype: str = "bf16"
    """Weights on disk."""
    quantization: str | None = None
    """fp8, nvfp4, gptq …; None for plain weights."""
    chat_template: bool | None = None
    """Whether the tokenizer has a chat template; None when unknown."""
    licence: str | None = None
    """Licence, when stated."""
    special: tuple[Text, ...] = ()
    """What a person must know before tuning it."""


class Column(Contract):
    """One column of a data file."""

    name: str
    """Column name."""
    kind: Literal["text", "number", "boolean", "list", "mapping", "empty"] = "text"
    """What its values are."""
    empty: int = 0
    """Rows without a value."""
    distinct: int = 0
    """Different values seen."""
    longest: int = 0
    """Longest value in characters."""


class Problem(Contract):
    """Something wrong in a data file."""

    line: int | None
    """1-based line or row; None when it is about the whole file."""
    text: Text
    """What, and what happens with it."""
    fatal: bool = False
    """Whether the file cannot be used as it is."""


class Lengths(Contract):
    """Sample lengths in tokens; an estimate unless `exact`."""

    p50: int
    """Median."""
    p95: int
    """95th percentile."""
    longest: int
    """Maximum."""
    total: int
    """All tokens."""
    exact: bool = False
    """True when counted by the model's own tokenizer."""


class DataFacts(Contract):
    """What is known of a data file."""

    path: str
    """The file."""
    container: Literal["csv", "jsonl", "json", "parquet"]
    """File type, by content."""
    format: DataFormat
    """Shape of a row."""
    task: Task
    """The task that the columns suggest."""
    rows: int
    """Usable rows."""
    columns: tuple[Column, ...]
    """All columns."""
    roles: dict[str, str]
    """Which column plays which part (see `DataChoice.columns`)."""
    lengths: Lengths
    """Sample lengths in tokens."""
    duplicates: int = 0
    """Rows that repeat an earlier row exactly."""
    language: Language = "en"
    """Main language of the rows."""
    encoding: str = "utf-8"
    """Text encoding."""
    samples: tuple[dict[str, JsonValue], ...] = ()
    """The first rows, shortened."""
    problems: tuple[Problem, ...] = ()
    """Broken rows by line, and other trouble."""
    sha256: str = ""
    """Hash of the file."""


class Facts(Contract):
    """Everything the advice rests on."""

    goal: Goal
    """What the person wants."""
    machine: Machine
    """Where it runs."""
    model: ModelFacts
    """What is tuned."""
    data: DataFacts
    """What it learns from."""
    cluster: Cluster | None = None
    """The cluster, if one is used."""
