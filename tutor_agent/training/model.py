"""Load a model as it will be trained: native classes, local files, fp32 where weights move."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tutor_agent.core.errors import NotPossibleError, UnreadableError
from tutor_agent.core.text import Text
from tutor_agent.training.classifier import is_classifier, settle_config, train_scores
from tutor_agent.training.segments import looks_across

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tutor_agent.core.plan import Plan
    from tutor_agent.data.classes import Head

_ATTENTION = {
    "sdpa": "sdpa",
    "flash": "flash_attention_2",
    "flex": "flex_attention",
    "eager": "eager",
}
_SUPPORT = {"sdpa": "sdpa", "flash": "flash_attn", "flex": "flex_attn"}
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Precision:
    """How a plan computes on this machine."""

    compute: torch.dtype
    """Dtype of the matrix products."""
    weights: torch.dtype
    """Dtype of the weights that stay as they are."""


def precision_of(plan: Plan) -> Precision:
    """Return the precision: `auto` takes bf16 where the hardware has it, and fp32 on a CPU.

    Raises:
        NotPossibleError: The plan names a precision that this machine does not have.
    """
    cuda = torch.cuda.is_available()
    asked = plan.model.dtype
    if asked == "fp16" and not cuda:
        raise NotPossibleError(
            "model.dtype = 'fp16' needs a CUDA device; this machine has none. Allowed here: 'auto', 'fp32', 'bf16'.",
            "model.dtype = 'fp16' 需要 CUDA 设备，本机没有。此处可用：'auto'、'fp32'、'bf16'。",
        )
    if asked == "bf16" and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise NotPossibleError(
            "model.dtype = 'bf16' is not supported by this GPU (compute capability below 8.0). Use 'fp16' or 'fp32'.",
            "该 GPU 不支持 model.dtype = 'bf16'（计算能力低于 8.0）。请用 'fp16' 或 'fp32'。",
        )
    if asked == "auto":
        capable = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        compute = torch.bfloat16 if capable else torch.float32
    else:
        compute = _DTYPES[asked]
    # A sharded group needs one dtype for all of its parameters, and those that move are fp32.
    uniform = plan.launch.sharding != "none"
    return Precision(compute, torch.float32 if uniform else compute)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer in `folder`.

    Raises:
        UnreadableError: There is none that transformers can read.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UnreadableError(
            f"No tokenizer can be read from {folder}: {error}. Its tokenizer.json must be beside the weights.",
            f"无法从 {folder} 读取分词器：{error}。tokenizer.json 必须与权重放在一起。",
        ) from error


def load_model(
    plan: Plan, folder: Path, dtype: torch.dtype, head: Head | None = None, **loading: Any
) -> PreTrainedModel:
    """Load the weights in `folder` as `dtype`, all frozen; a skill then chooses what moves.

    With a `head` the model gives one score a class, from a new layer that moves whatever the skill chooses.
    More keywords go to transformers as they are (how to pack frozen weights, see `quantised`).

    Raises:
        NotPossibleError: The attention kernel is not available here.
        UnreadableError: The folder holds no model that transformers knows natively.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if head is not None:
            settle_config(config, head)
        kind = AutoModelForCausalLM if head is None else AutoModelForSequenceClassification
        model = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=_attention(plan, kind, config),
            local_files_only=True,
            **loading,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UnreadableError(
            f"No model can be loaded from {folder}: {error}. Only architectures native to transformers, with "
            "safetensors weights, are loaded; code inside a model folder is never run.",
            f"无法从 {folder} 加载模型：{error}。只加载 transformers 原生支持、带 safetensors 权重的架构；"
            "绝不运行模型文件夹中的代码。",
        ) from error
    model.config.use_cache = False
    model.requires_grad_(False)
    if head is not None:
        train_scores(model)
    return model


def _attention(plan: Plan, auto: Any, config: Any) -> str:
    """Return the attention kernel for the class that `auto` makes of `config`.

    `sdpa` means the plain one for classes that have no other (DeepSeek V4). Flex attention has no backward pass on
    CPUs (torch 2.13 raises NotImplementedError, after 70 seconds of compiling the forward pass).

    Raises:
        NotPossibleError: The class or this machine does not have it.
    """
    asked, kind = plan.model.attention, auto._model_mapping.get(type(config), None)
    supported = f"_supports_{_SUPPORT[asked]}" if asked in _SUPPORT else None
    missing = supported is not None and not getattr(kind, supported, True)
    if asked == "sdpa":
        return "eager" if missing else "sdpa"
    if missing:
        raise NotPossibleError(
            f"model.attention = {asked!r} is not available for {kind.__name__}. Use 'sdpa'.",
            f"{kind.__name__} 不支持 model.attention = {asked!r}。请用 'sdpa'。",
        )
    if asked != "eager" and not torch.cuda.is_available():
        raise NotPossibleError(
            f"model.attention = {asked!r} needs a CUDA device to train; this machine has none. Use 'sdpa'.",
            f"model.attention = {asked!r} 训练时需要 CUDA 设备，本机没有。请用 'sdpa'。",
        )
    if asked == "flash":
        _check_flash(precision_of(plan).compute)
    return _ATTENTION[asked]


def _check_flash(compute: torch.dtype) -> None:
    if find_spec("flash_attn") is None:
        raise NotPossibleError(
            "model.attention = 'flash' needs the package flash-attn, which is not installed. Run "
            "`pip install flash-attn --no-build-isolation`, or use 'sdpa'.",
            "model.attention = 'flash' 需要安装 flash-attn。请运行 `pip install flash-attn --no-build-isolation`，或改用 'sdpa'。",
        )
    if compute is torch.float32:
        raise NotPossibleError(
            "model.attention = 'flash' computes in 16 bits only. Set model.dtype to 'bf16', or use 'sdpa'.",
            "model.attention = 'flash' 只支持 16 位计算。请把 model.dtype 设为 'bf16'，或改用 'sdpa'。",
        )


def train_weights(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Let `parameters` move, in fp32: smaller steps than a half-precision weight can hold are kept."""
    for parameter in parameters:
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def rest_unreached(model: PreTrainedModel) -> list[Text]:
    """Freeze what no gradient reaches, and say so: the indexers of DeepSeek V3.2 and V4.

    They pick what is attended to by a hard choice; DeepSeek trained them with a loss of their own. Left moving they would
    cost memory, and processes that average gradients would wait for theirs.
    """
    idle = [p for n, p in model.named_parameters() if ".indexer." in n and p.requires_grad]
    for parameter in idle:
        parameter.requires_grad_(False)
    count = sum(p.numel() for p in idle)
    if not idle:
        return []
    return [
        Text(
            en=f"The attention indexer ({count:,} weights) stays as it is: this loss does not reach it.",
            zh=f"注意力索引器（{count:,} 个权重）保持不变：当前损失传不到那里。",
        )
    ]


def settle_frozen(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Keep the weights that do not move in `dtype`: they need no finer steps."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def blocks_of(model: PreTrainedModel) -> torch.nn.ModuleList:
    """Return the transformer blocks, bottom first.

    Raises:
        NotPossibleError: The architecture keeps them where this cannot find them.
    """
    wanted = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
            return module
    raise NotPossibleError(
        f"{type(model).__name__} has no list of {wanted} blocks, so single layers cannot be chosen. Use 'lora'.",
        f"{type(model).__name__} 没有 {wanted} 个层组成的列表，无法按层选择。请改用 'lora'。",
    )


def train_top(model: PreTrainedModel, last: int, *, embeddings: bool, head: bool) -> None:
    """Let the last `last` blocks and the normalisation above them move, and on request both ends.

    Raises:
        NotPossibleError: The model has fewer blocks, or keeps them elsewhere.
    """
    blocks = blocks_of(model)
    if not 0 <= last <= len(blocks):
        raise NotPossibleError(
            f"params.train_last = {last}, but the model has {len(blocks)} layers. Choose 0 to {len(blocks)}.",
            f"params.train_last = {last}，但模型只有 {len(blocks)} 层。请选择 0 到 {len(blocks)}。",
        )
    for block in blocks[len(blocks) - last :]:
        train_weights(block.parameters())
    body: Any = model.base_model
    for name, module in body.named_children():
        if last and "norm" in name:
            train_weights(module.parameters())
    if embeddings:
        train_weights(model.get_input_embeddings().parameters())
    if head and not is_classifier(model):
        output: Any = model.get_output_embeddings()
        train_weights(output.parameters())


def train_parts(model: PreTrainedModel, names: list[str]) -> None:
    """Let the parts called `names` move: each is a module or a parameter, `*` standing for any piece.

    A name fits from any of its pieces on: `norm`, `self_attn.o_proj`, `layers.3`, `layers.*.mlp`.

    Raises:
        NotPossibleError: A name fits nothing in this model.
    """
    parameters = dict(model.named_parameters())
    for name in names:
        wanted = name.split(".")
        found = [p for path, p in parameters.items() if _has_part(path.split("."), wanted)]
        if not found:
            pieces = sorted({piece for path in parameters for piece in path.split(".")})
            known = [piece for piece in pieces if not piece.isdigit()]
            near = difflib.get_close_matches(wanted[-1], known, n=3) or known
            raise NotPossibleError(
                f"params.train_modules names {name!r}, which is no part of this model. It has: {', '.join(near)}.",
                f"params.train_modules 中的 {name!r} 不是该模型的部件。可用：{'、'.join(near)}。",
            )
        train_weights(found)


def _has_part(path: list[str], wanted: list[str]) -> bool:
    """Return whether the pieces `wanted` stand side by side in `path`."""
    size = len(wanted)
    return any(
        all(fnmatchcase(have, want) for have, want in zip(path[i : i + size], wanted, strict=True))
        for i in range(len(path) - size + 1)
    )


def refuse_packing(model: torch.nn.Module) -> None:
    """Check that packed samples stay apart in this architecture.

    Raises:
        NotPossibleError: They would read each other.
    """
    if looks_across(model):
        name = type(model).__name__
        raise NotPossibleError(
            f"data.packing = true does not work with {name}: its sparse attention would look across packed samples. "
            "Set data.packing to false; data.batching = 'by_length' saves padding instead.",
            f"data.packing = true 不能用于 {name}：其稀疏注意力会越过打包样本的边界。请把 data.packing 设为 false；"
            "可改用 data.batching = 'by_length' 来减少填充。",
        )


def dtype_on_disk(folder: Path) -> torch.dtype:
    """Return the precision in which the model in `folder` is stored, fp32 when it is not stated."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    stated = getattr(config, "dtype", None)
    return stated if isinstance(stated, torch.dtype) else torch.float32


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the padding token, which `ensure_template` has made sure of."""
    token: Any = tokenizer.pad_token_id
    return int(token)
