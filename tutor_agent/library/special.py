"""What a person must know before tuning a model, as far as it follows from its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts

_GIB = 2**30
_LATENT_TYPES = {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "kimi_k2"}


def special_notes(facts: ModelFacts) -> tuple[Text, ...]:
    """Return the notes that apply to `facts`, the gravest first."""
    found = (
        _no_native_class(facts),
        _quantized(facts),
        _experts(facts),
        _latent(facts),
        _reasoning(facts),
        _untied_head(facts),
        _tied_head(facts),
        _gated_access(facts),
    )
    return tuple(note for note in found if note)


def _no_native_class(facts: ModelFacts) -> Text | None:
    if facts.model_type != "deepseek":
        return None
    return Text(
        en='Its model_type "deepseek" has no class in transformers 5: it loads only with '
        "trust_remote_code, which runs code from the repository. The tutor asks first. "
        "DeepSeek-V2-Lite is of about the same size and loads without it.",
        zh="它的 model_type「deepseek」在 transformers 5 中没有对应的类，只能开启 trust_remote_code 加载，"
        "这会执行仓库里的代码，导师会先征得同意。DeepSeek-V2-Lite 规模相近，无需这样做。",
    )


def _quantized(facts: ModelFacts) -> Text | None:
    kind = facts.quantization
    if kind is None:
        return None
    size = facts.parameters.total * 2 / _GIB
    if kind in {"fp8", "nvfp4", "mxfp4", "fp4"}:
        return Text(
            en=f"The weights are published in {kind}. They are dequantised to bf16 before training, "
            f"which takes about {size:,.0f} GiB of memory and disk for the whole model.",
            zh=f"权重以 {kind} 发布，训练前需要反量化为 bf16，整个模型约占 {size:,.0f} GiB 内存和磁盘。",
        )
    return Text(
        en=f"The weights are quantised ({kind}). Only adapters can be trained on top of them; "
        "for anything else take the unquantised model.",
        zh=f"权重已量化（{kind}），只能在其上训练适配器；其他方法请改用未量化的模型。",
    )


def _experts(facts: ModelFacts) -> Text | None:
    experts = facts.shape.experts
    if experts is None:
        return None
    billion = facts.parameters.active / 1e9
    return Text(
        en=f"Mixture of experts: {experts.active} of {experts.routed} experts work on a token "
        f"({billion:.1f} B of {facts.parameters.total / 1e9:.1f} B parameters), yet all of them must be "
        "in memory. Put LoRA on the attention and leave the router alone; adapters on experts allow "
        "no dropout.",
        zh=f"混合专家模型：每个 token 只用 {experts.routed} 个专家中的 {experts.active} 个"
        f"（总参数 {facts.parameters.total / 1e9:.1f} B，激活 {billion:.1f} B），但全部权重都要放进显存。"
        "LoRA 请加在注意力层上，不要动路由器；加在专家上的适配器不能使用 dropout。",
    )


def _latent(facts: ModelFacts) -> Text | None:
    if facts.model_type not in _LATENT_TYPES or facts.shape.latent is None:
        return None
    query = "q_a_proj, q_b_proj" if facts.shape.latent.q_rank else "q_proj"
    names = f"{query}, kv_a_proj_with_mqa, kv_b_proj, o_proj"
    return Text(
        en=f"Latent attention (MLA): there is no v_proj, so the usual LoRA targets q_proj and v_proj "
        f"fail. The attention targets are {names}.",
        zh=f"多头潜在注意力（MLA）：没有 v_proj，常见的 LoRA 目标 q_proj、v_proj 会报错。"
        f"注意力层的目标是 {names}。",
    )


def _reasoning(facts: ModelFacts) -> Text | None:
    name = facts.name.lower()
    if "r1" not in name.replace("_", "-").split("/")[-1].split("-"):
        return None
    return Text(
        en="A reasoning model: its chat template opens the answer with <think> and drops the reasoning "
        "of earlier turns. Answers without reasoning teach it to stop thinking; keep the <think> part in "
        "your rows if you want to keep the skill.",
        zh="推理模型：对话模板会以 <think> 开始回答，并删去前几轮的思考过程。用不含思考过程的回答训练，"
        "会让它不再思考；若想保留推理能力，请在数据中保留 <think> 部分。",
    )


def _untied_head(facts: ModelFacts) -> Text | None:
    shape = facts.shape
    if facts.model_type != "qwen2" or (shape.hidden, shape.layers) != (1536, 28) or shape.tied:
        return None
    return Text(
        en="Its output head is separate from the embedding, unlike in Qwen2.5-1.5B on which it is "
        f"based: {facts.parameters.total / 1e9:.2f} B parameters, not 1.54 B.",
        zh="它的输出头与词嵌入是分开的，这与其基座 Qwen2.5-1.5B 不同："
        f"参数量是 {facts.parameters.total / 1e9:.2f} B，而不是 1.54 B。",
    )


def _tied_head(facts: ModelFacts) -> Text | None:
    if not facts.shape.tied:
        return None
    return Text(
        en="Input embedding and output head are one matrix: training one changes the other.",
        zh="输入词嵌入与输出头共用一个矩阵：训练其中一个，另一个也会改变。",
    )


def _gated_access(facts: ModelFacts) -> Text | None:
    if facts.path is not None or "gated" not in (facts.licence or ""):
        return None
    return Text(
        en="The repository is gated: accept its licence on the hub and set HF_TOKEN before downloading.",
        zh="该仓库需要授权：下载前请先在模型站点同意许可协议，并设置 HF_TOKEN。",
    )
