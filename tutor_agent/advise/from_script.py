"""What of an old script goes into a plan: each value with the line it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tutor_agent.advise.carried import Carried, Kept, is_sane
from tutor_agent.advise.script_data_fields import data_from_script
from tutor_agent.core.text import Text
from tutor_agent.library.renamed import renamed_table
from tutor_agent.probe.script_values import Given, Made, Unknown

if TYPE_CHECKING:
    from tutor_agent.probe.script import Script

_NUMBERS: dict[str, tuple[str, type[int] | type[float], float]] = {
    "per_device_train_batch_size": ("optim.micro_batch", int, 8),
    "gradient_accumulation_steps": ("optim.accumulate", int, 1),
    "learning_rate": ("optim.learning_rate", float, 5e-5),
    "num_train_epochs": ("optim.epochs", float, 3),
    "weight_decay": ("optim.weight_decay", float, 0),
    "max_grad_norm": ("optim.max_grad_norm", float, 1),
    "seed": ("optim.seed", int, 42),
}
_SWITCHES = {
    "full_determinism": "optim.deterministic",
    "torch_compile": "model.compile",
    "use_liger_kernel": "model.liger",
    "gradient_checkpointing": "launch.checkpointing",
}
_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "warmup_stable_decay",
}
_OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_hf": "adamw",
    "adamw_apex_fused": "adamw",
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
_ATTENTION = {
    "flash_attention_2": "flash",
    "flash_attention_3": "flash",
    "flex_attention": "flex",
    "sdpa": "sdpa",
    "eager": "eager",
}
_TRACKERS = ("tensorboard", "wandb", "swanlab", "mlflow", "trackio")
_LORA = {
    "r": "params.r",
    "lora_alpha": "params.alpha",
    "lora_dropout": "params.dropout",
    "target_modules": "params.targets",
    "use_dora": "params.dora",
    "use_rslora": "params.rslora",
}
_LORA_DEFAULTS = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
_SFT_DEFAULTS = {"learning_rate": 2e-5}
_SILENT = frozenset(
    {
        "output_dir", "logging_dir", "logging_steps", "logging_strategy", "overwrite_output_dir", "save_steps",
        "save_strategy", "eval_steps", "eval_strategy", "save_total_limit", "load_best_model_at_end", "run_name",
        "metric_for_best_model", "greater_is_better", "per_device_eval_batch_size", "warmup_steps", "warmup_ratio",
        "lr_scheduler_type", "optim", "fp16", "bf16", "report_to", "max_steps", "do_train", "do_eval", "no_cuda",
        "use_cpu", "group_by_length", "train_sampling_strategy", "max_length", "max_seq_length", "packing",
        "dataset_text_field", "logging_first_step", "disable_tqdm", "remove_unused_columns", "save_safetensors",
        "dataloader_num_workers", "dataloader_pin_memory", "log_level", "push_to_hub", "data_seed", "adafactor", "tf32",
        "gradient_checkpointing_kwargs", "ddp_find_unused_parameters", "evaluation_strategy", "hub_model_id",
        "predict_with_generate", "local_rank", "assistant_only_loss", "completion_only_loss", "model_max_length", "cache_dir", "model_init_kwargs", "label_names",
    }
)  # fmt: skip
"""Arguments that are carried over elsewhere, or that a run of the tutor settles by itself."""


def carry_over(script: Script) -> Carried:
    """Return the fields of the plan that the script decides."""
    carried, given = Carried(), settings_of(script)
    _numbers(carried, given, script)
    _optimizing(carried, given)
    _evaluating(carried, given, script)
    _loading(carried, given, script)
    _adapting(carried, script)
    data_from_script(carried, given, script)
    known = {*_NUMBERS, *_SWITCHES, *_SILENT}
    carried.left.update({name: each for name, each in given.items() if name not in known})
    return carried


def settings_of(script: Script) -> dict[str, Given]:
    """Return the training arguments under today's names."""
    if script.arguments is None:
        return {}
    changed = renamed_table().argument_changes("TrainingArguments")
    new = {old: current for old, current, _ in changed.renamed} if changed else {}
    same = {"evaluation_strategy", "per_gpu_train_batch_size", "per_gpu_eval_batch_size"}
    named = script.arguments.named
    found = {new[name] if name in same else name: given for name, given in named.items()}
    if script.arguments.args:
        found.setdefault("output_dir", script.arguments.args[0])
    return found


def _numbers(carried: Carried, given: dict[str, Given], script: Script) -> None:
    complete = script.arguments is None or not script.arguments.open
    sft = script.kind == "sft"
    for name, (path, kind, usual) in _NUMBERS.items():
        value = carried.plain(name, given.get(name))
        if name not in given and complete:
            default = _SFT_DEFAULTS.get(name, usual) if sft else usual
            owner = script.arguments.last if script.arguments else "TrainingArguments"
            carried.fields[path] = Kept(path, kind(default), default_of=owner)
        elif (number := _number(value, kind)) is not None:
            carried.keep(path, number, given[name])
        elif value is not None:
            carried.unknown[name] = Unknown(repr(value), given[name].line)
    for name, path in _SWITCHES.items():
        value = carried.plain(name, given.get(name))
        if isinstance(value, bool):
            carried.keep(path, value, given[name])


def _number(value: object, kind: type[int] | type[float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        return None
    return number if is_sane(number) else None


def _optimizing(carried: Carried, given: dict[str, Given]) -> None:
    steps = carried.plain("max_steps", given.get("max_steps"))
    if isinstance(steps, int) and steps > 0:
        carried.keep("optim.max_steps", steps, given["max_steps"])
    _warming(carried, given)
    name = carried.plain("lr_scheduler_type", given.get("lr_scheduler_type"))
    if "lr_scheduler_type" not in given:
        carried.fields["optim.schedule"] = Kept(
            "optim.schedule", "linear", default_of="TrainingArguments"
        )
    elif str(name) in _SCHEDULES:
        carried.keep("optim.schedule", _SCHEDULES[str(name)], given["lr_scheduler_type"])
    elif name is not None:
        carried.left["lr_scheduler_type"] = given["lr_scheduler_type"]
    name = carried.plain("optim", given.get("optim"))
    if str(name) in _OPTIMIZERS:
        carried.keep("optim.optimizer", _OPTIMIZERS[str(name)], given["optim"])
    elif name is not None:
        carried.left["optim"] = given["optim"]
    if given.get("adafactor") and given["adafactor"].value is True:
        carried.keep("optim.optimizer", "adafactor", given["adafactor"])
    by_length = given.get("group_by_length") or given.get("train_sampling_strategy")
    if by_length is not None and by_length.value in (True, "group_by_length"):
        carried.keep("data.batching", "by_length", by_length)
    trackers = carried.plain("report_to", given.get("report_to"))
    if trackers is not None:
        listed = cast("list[object]", trackers if isinstance(trackers, list) else [trackers])
        carried.keep("trackers", [name for name in listed if name in _TRACKERS], given["report_to"])


def _warming(carried: Carried, given: dict[str, Given]) -> None:
    for name in ("warmup_steps", "warmup_ratio"):
        value = carried.plain(name, given.get(name))
        if isinstance(value, int | float) and value > 0:
            carried.keep("optim.warmup", float(value), given[name])
            return
    if "warmup_steps" not in carried.unknown and "warmup_ratio" not in carried.unknown:
        first = given.get("warmup_steps") or given.get("warmup_ratio")
        line = first.line if first else None
        carried.fields["optim.warmup"] = Kept("optim.warmup", 0.0, line, "TrainingArguments")


def _evaluating(carried: Carried, given: dict[str, Given], script: Script) -> None:
    strategy = carried.plain("eval_strategy", given.get("eval_strategy")) or "no"
    name, how = (
        ("eval_steps", strategy)
        if strategy != "no"
        else ("save_steps", given_text(given, "save_strategy"))
    )
    value = carried.plain(name, given.get(name))
    if how == "epoch":
        _each_epoch(carried, given.get("eval_strategy") or given.get("save_strategy"))
    elif isinstance(value, int | float) and value > 0:
        carried.keep("evaluation.every", float(value), given[name])
    best = carried.plain("load_best_model_at_end", given.get("load_best_model_at_end"))
    if "load_best_model_at_end" not in carried.unknown:
        given_best = given.get("load_best_model_at_end")
        line = given_best.line if given_best else None
        kept = Kept("evaluation.keep", "best" if best else "last", line, "TrainingArguments")
        carried.fields["evaluation.keep"] = kept
    stopping = script.find("EarlyStoppingCallback")
    if stopping is None:
        carried.fields["evaluation.early_stopping"] = Kept(
            "evaluation.early_stopping", None, default_of="Trainer"
        )
        return
    patience = stopping.get("early_stopping_patience", 0) or Given(1, stopping.line)
    if isinstance(count := carried.plain("early_stopping_patience", patience), int):
        carried.keep("evaluation.early_stopping", max(1, count), patience)


def given_text(given: dict[str, Given], name: str) -> str:
    """Return a setting as text, empty when absent."""
    return str(given[name].value) if name in given else ""


def _each_epoch(carried: Carried, given: Given | None) -> None:
    """Translate "every epoch" into a share of the run."""
    epochs = carried.fields.get("optim.epochs")
    if epochs is None or "optim.max_steps" in carried.fields or not isinstance(epochs.value, float):
        return
    share = 1 / epochs.value if epochs.value > 1 else 0.5
    note = Text(
        en=f"once an epoch: {share:.3g} of the run"
        if epochs.value > 1
        else "once an epoch would be only at the very end here, so twice",
        zh=f"每轮一次，即全程的 {share:.3g}"
        if epochs.value > 1
        else "每轮一次在这里只会在最后评估，因此改为两次",
    )
    carried.keep("evaluation.every", round(share, 6), given, note)


def _loading(carried: Carried, given: dict[str, Given], script: Script) -> None:
    for name in ("bf16", "fp16"):
        if carried.plain(name, given.get(name)) is True:
            carried.keep("model.dtype", name, given[name])
    model = script.model
    if model is None:
        return
    attention = model.get("attn_implementation")
    name = carried.plain("attn_implementation", attention)
    if str(name) in _ATTENTION:
        carried.keep("model.attention", _ATTENTION[str(name)], attention)
    elif (flag := model.get("use_flash_attention_2")) is not None and flag.value is True:
        carried.keep("model.attention", "flash", flag)
    revision = carried.plain("revision", model.get("revision"))
    if isinstance(revision, str):
        carried.keep("model.revision", revision, model.get("revision"))
    if "ForSequenceClassification" in model.name:
        carried.keep("model.head", "classifier", Given("classifier", model.line))


def _adapting(carried: Carried, script: Script) -> None:
    lora = script.lora
    if lora is None:
        _freezing(carried, script)
        return
    for name, path in _LORA.items():
        given = lora.get(name, 0 if name == "r" and lora.last == "LoraConfig" else None)
        value = carried.plain(name, given)
        if given is None and name in _LORA_DEFAULTS and not lora.open:
            carried.fields[path] = Kept(path, _LORA_DEFAULTS[name], default_of=lora.last)
        elif value is not None and given is not None:
            carried.keep(path, value, given)
    _quantising(carried, script.quantization)
    for name in ("modules_to_save", "bias", "layers_to_transform", "rank_pattern"):
        if name in lora.named and lora.named[name].value not in (None, "none"):
            carried.left[name] = lora.named[name]


def _freezing(carried: Carried, script: Script) -> None:
    if script.frozen is None:
        return
    last = script.train_last
    if last is None:
        carried.unknown["params.train_last"] = Unknown(
            script.source.code(script.frozen.line), script.frozen.line
        )
    else:
        carried.keep("params.train_last", last.value, last)


def _quantising(carried: Carried, made: Made | None) -> None:
    if made is None:
        return
    for name, kind in (("load_in_4bit", "nf4"), ("load_in_8bit", "int8")):
        if carried.plain(name, made.get(name)) is True:
            carried.keep("params.quantization", kind, made.get(name))
