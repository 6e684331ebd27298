"""LoRA adapters: put on, and compared with what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peft import LoraConfig, get_peft_model
from pydantic import Field

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.training.audit import size_of
from tutor_agent.training.classifier import is_classifier
from tutor_agent.training.quantised import Quantisation
from tutor_agent.training.targets import Targets, choose_targets, endings, expected_sizes

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class LoraSettings(Contract):
    """The parameters of the skill `lora`."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: int = Field(default=32, ge=1)
    """Scale: the adapters' output is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the adapters."""
    targets: str | list[str] = "all-linear"
    """`all-linear`, `attention`, or module names."""
    dora: bool = False
    """Learn direction and size apart."""
    rslora: bool = False
    """Scale by alpha / sqrt(r)."""
    quantization: Quantisation = "none"
    """How the frozen weights are held: as they are, in 4 bits (nf4), or in 8 (int8)."""


def add_adapters(model: PreTrainedModel, settings: LoraSettings) -> tuple[PeftModel, list[Text]]:
    """Put fp32 adapters on a frozen model; return it and what had to be settled otherwise.

    Raises:
        NotPossibleError: A target does not exist in this model, cannot be combined with DoRA, or was
            rewritten by PEFT.
        InvalidPlanError: The list of targets is empty.
    """
    targets = choose_targets(model, settings.targets)
    notes = list(targets.notes)
    dropout = settings.dropout
    if targets.parameters and settings.dora:
        raise NotPossibleError(
            "params.dora does not work on expert weights. Set it to false, or params.targets to 'attention'.",
            "params.dora 不能用于专家权重。请设为 false，或把 params.targets 设为 'attention'。",
        )
    if targets.parameters and dropout:
        notes.append(
            Text(
                en=f"params.dropout = {dropout} is not possible on expert weights; 0 is used.",
                zh=f"专家权重不支持 params.dropout = {dropout}，按 0 处理。",
            )
        )
        dropout = 0.0
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=dropout,
        target_modules=endings(targets.modules, (name for name, _ in model.named_modules())),
        target_parameters=_parameter_names(model, targets),
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        # A classifier's new layer of scores is trained and saved in full beside the adapters.
        task_type="SEQ_CLS" if is_classifier(model) else "CAUSAL_LM",
    )
    expected = expected_sizes(model, targets, settings.r, dora=settings.dora)
    adapted = get_peft_model(model, config)
    _compare(expected, adapter_sizes(adapted))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted, notes


def adapter_sizes(model: Any) -> dict[str, int]:
    """Return how many weights the adapter of each module has, without the wrapping names."""
    sizes: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        owner, found, _ = name.partition(".lora_")
        if found:
            owner = owner.removeprefix("base_model.model.").replace(".base_layer", "")
            sizes[owner] = sizes.get(owner, 0) + size_of(parameter)
    return sizes


def adapter_names(model: Any) -> list[str]:
    """Return the modules that carry an adapter, without the wrapping names."""
    return sorted(adapter_sizes(model))


def _parameter_names(model: PreTrainedModel, targets: Targets) -> list[str] | None:
    return endings(targets.parameters, (name for name, _ in model.named_parameters())) or None


def _compare(expected: dict[str, int], found: dict[str, int]) -> None:
    """Check that PEFT adapted what it was asked to, and in that size.

    Raises:
        NotPossibleError: It left something out, adapted something else, or chose another rank.
    """
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if not wrong:
        return
    shown = ", ".join(f"{n} ({found.get(n, 0):,} / {expected.get(n, 0):,})" for n in wrong[:4])
    raise NotPossibleError(
        f"PEFT did not adapt this model as asked. Weights found / expected, in {len(wrong)} places: {shown}. Set "
        "params.targets to 'attention'.",
        f"PEFT 没有按要求适配该模型。共 {len(wrong)} 处不符（实际权重数/应有权重数）：{shown}。"
        "请把 params.targets 设为 'attention'。",
    )
