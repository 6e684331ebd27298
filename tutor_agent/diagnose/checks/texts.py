"""Checks over error texts: versions against arguments, memory figures, what our own run said."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from tutor_agent.diagnose.checks.registry import Shown, check
from tutor_agent.library.renamed import renamed_table

if TYPE_CHECKING:
    from tutor_agent.diagnose.observations import Observations

_ARGUMENT = re.compile(
    r"(?:got an )?unexpected keyword argument '?(?P<name>\w+)'?|"
    r"unrecognized arguments:.*?--(?P<flag>\w+)|不(?:认识|支持)(?:的)?参数\s*'?(?P<zh>\w+)",
    re.IGNORECASE,
)
# argument: (package, first version that knows it, first version that does not, the new name); what the library's table of
# renamed arguments says of the same name goes before it.
_ARGUMENTS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]] = {
    "evaluation_strategy": ("transformers", (3, 4), (4, 46), "eval_strategy"),
    "eval_strategy": ("transformers", (4, 41), (), ""),
    "tokenizer": ("transformers", (2, 0), (5, 0), "processing_class"),
    "processing_class": ("transformers", (4, 46), (), ""),
    "warmup_ratio": ("transformers", (4, 0), (5, 0), "warmup_steps"),
    "logging_dir": ("transformers", (2, 0), (5, 0), ""),
    "overwrite_output_dir": ("transformers", (2, 0), (5, 0), ""),
    "group_by_length": ("transformers", (4, 2), (5, 0), "train_sampling_strategy"),
    "save_safetensors": ("transformers", (4, 28), (5, 0), ""),
    "push_to_hub_token": ("transformers", (4, 10), (5, 0), "hub_token"),
    "no_cuda": ("transformers", (2, 0), (5, 0), "use_cpu"),
    "use_cpu": ("transformers", (4, 34), (), ""),
    "per_gpu_train_batch_size": ("transformers", (2, 0), (5, 0), "per_device_train_batch_size"),
    "torch_dtype": ("transformers", (4, 0), (), "dtype"),
    "dtype": ("transformers", (4, 56), (), ""),
    "use_auth_token": ("transformers", (4, 0), (5, 0), "token"),
    "load_in_8bit": ("transformers", (4, 24), (5, 0), "quantization_config"),
    "load_in_4bit": ("transformers", (4, 30), (5, 0), "quantization_config"),
    "attn_implementation": ("transformers", (4, 36), (), ""),
    "use_flash_attention_2": ("transformers", (4, 34), (4, 56), "attn_implementation"),
    "include_num_input_tokens_seen": ("transformers", (4, 37), (), ""),
    "neftune_noise_alpha": ("transformers", (4, 35), (), ""),
    "num_items_in_batch": ("transformers", (4, 46), (), ""),
    "max_seq_length": ("trl", (0, 4), (0, 20), "max_length"),
    "dataset_text_field": ("trl", (0, 4), (0, 16), "SFTConfig(dataset_text_field=)"),
    "packing": ("trl", (0, 4), (0, 16), "SFTConfig(packing=)"),
    "use_dora": ("peft", (0, 9), (), ""),
    "use_rslora": ("peft", (0, 7), (), ""),
    "modules_to_save": ("peft", (0, 3), (), ""),
    "dispatch_batches": ("accelerate", (0, 12), (1, 0), "DataLoaderConfiguration"),
    "split_batches": ("accelerate", (0, 11), (1, 0), "DataLoaderConfiguration"),
}


_TRL = re.compile(
    r"\b(?:SFT|DPO|KTO|ORPO|CPO|PPO|GRPO|RLOO|XPO|Reward|Online\w+|Nash\w+)\w*(?:Trainer|Config)\b[^\n]*unexpected"
)
# What the trainers of trl call differently from transformers.
_TRL_ARGUMENTS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]] = {
    "tokenizer": ("trl", (0, 2), (0, 16), "processing_class"),
    "processing_class": ("trl", (0, 12), (), ""),
    "max_seq_length": ("trl", (0, 4), (0, 20), "max_length"),
    "beta": ("trl", (0, 4), (0, 13), "DPOConfig(beta=)"),
    "max_prompt_length": ("trl", (0, 4), (0, 13), "DPOConfig(max_prompt_length=)"),
}


def argument_facts(seen: Observations) -> tuple[str, tuple[int, ...], tuple[int, ...], str]:
    """Return package, first version with it, first one without it and new name of the unknown argument."""
    name = argument_of(seen)
    if name in _TRL_ARGUMENTS and _TRL.search(f"{seen.text}\n{seen.symptom}"):
        return _TRL_ARGUMENTS[name]
    return known_arguments().get(name, ("", (), (), ""))


@functools.cache
def known_arguments() -> dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]]:
    """Return package, first version with it, first version without it and new name by argument."""
    known, settled = dict(_ARGUMENTS), set[str]()
    for changed in renamed_table().arguments:
        for name, release in changed.since.items():
            # A bare word such as `task` may be an argument of anything.
            if not release or name in settled or ("_" not in name and name not in known):
                continue
            package, first, _, new = known.get(name, (changed.package, (), (), ""))
            if package == changed.package:
                gone = tuple(int(part) for part in release.split("."))
                known[name] = (package, first, gone, changed.successors[name] or new)
                settled.add(name)
    return known


@check("removed-argument")
def removed_argument(seen: Observations) -> Shown | None:
    """An argument that newer versions renamed or removed, on a version that no longer has it."""
    name = argument_of(seen)
    package, first, gone, new = argument_facts(seen)
    if not gone:
        return None
    version = version_of(seen, package)
    if version and version < first:
        return None
    weight = 0.93 if version and version >= gone else 0.8
    if version and version < gone:
        return None
    told: dict[str, object] = {
        "name": name,
        "package": package,
        "gone": dotted(gone),
        "successor": new or "-",
    }
    return Shown(told | ({"new": new} if new else {"dropped": name}), weight)


@check("argument-too-new")
def argument_too_new(seen: Observations) -> Shown | None:
    """An argument that the installed version does not know yet."""
    name = argument_of(seen)
    package, first, gone, _ = argument_facts(seen)
    if not package:
        return None
    version = version_of(seen, package)
    too_old = bool(version) and version < first
    if not too_old and (gone or version):
        return None
    return Shown(
        {"name": name, "package": package, "first": dotted(first)}, 0.93 if too_old else 0.82
    )


def argument_of(seen: Observations) -> str:
    """Return the argument that a call did not know."""
    match = _ARGUMENT.search(f"{seen.text}\n{seen.symptom}")
    return next((word for word in match.groups() if word), "") if match else ""


def version_of(seen: Observations, package: str) -> tuple[int, ...]:
    """Return the version of `package`; `new` and `latest` are above all, `<4.46` just below that."""
    said = seen.versions.get(package) or next(
        (str(v) for k, v in seen.config.items() if k.rsplit(".", 1)[-1].lower() == package), ""
    )
    if re.search(r"new|latest|最新|main|nightly", said, re.IGNORECASE):
        return (999,)
    if re.search(r"\bold\b|旧", said, re.IGNORECASE):
        return (0, 1)
    numbers = [int(part) for part in re.findall(r"\d+", said)[:3]]
    if said.strip().startswith("<") and numbers:
        numbers = [*numbers[:-1], max(0, numbers[-1] - 1)]
    return tuple(numbers)


def dotted(version: tuple[int, ...]) -> str:
    """Write a version."""
    return ".".join(str(part) for part in version)


@check("large-reserve")
def large_reserve(seen: Observations) -> Shown | None:
    """The out-of-memory text shows much memory reserved but not allocated."""
    match = re.search(
        r"(?P<size>[\d.]+) (?P<unit>[GM])iB is reserved by PyTorch but unallocated", seen.text
    )
    size = float(match["size"]) / (1024 if match["unit"] == "M" else 1) if match else 0.0
    if size < 1.0:
        pair = re.search(
            r"(?P<allocated>[\d.]+) GiB already allocated.*?(?P<reserved>[\d.]+) GiB reserved",
            seen.text,
        )
        size = float(pair["reserved"]) - float(pair["allocated"]) if pair else 0.0
    return Shown({"gib": size}, 0.75 if size > 2 else 0.5) if size >= 1.0 else None


@check("late-oom")
def late_oom(seen: Observations) -> Shown | None:
    """Memory ran out after many good steps, in training."""
    if not re.search(
        r"^(?!srun|slurmstepd).*out of memory", seen.text, re.I | re.M
    ) or seen.phase in {
        "evaluate",
        "save",
        "load",
    }:
        return None
    done = max([*seen.metric("loss").steps, *seen.metric("iterations_per_second").steps], default=0)
    said = re.search(r"(?:step|iter\w*|at)\s*#?(\d{2,})", seen.words, re.IGNORECASE)
    done = max(done, float(said[1]) if said else 0)
    return Shown({"steps": done}) if done >= 30 else None


@check("double-bos")
def double_bos(seen: Observations) -> Shown | None:
    """A list of token ids, or a text, begins with the same start token twice."""
    text = f"{seen.text}\n{seen.symptom}"
    ids = re.search(
        r"(?:ids?|tokens?|input\w*)\W{0,12}\[\s*(?P<id>[1-9]\d*)\s*,\s*(?P=id)\s*[,\]]",
        text,
        re.IGNORECASE,
    )
    marker = re.search(
        r"(?P<bos><s>|<\|begin_of_text\|>|<bos>|<｜begin▁of▁sentence｜>|\[BOS\])\s*(?P=bos)", text
    )
    if ids is None and marker is None:
        return None
    return Shown(
        {"token": ids["id"] if ids else marker["bos"] if marker else ""}, 0.85 if marker else 0.75
    )


_TUNED_SCORE = re.compile(
    r"\b(?:merged|tuned|fine-?tuned|trained|adapter|lora|after|with adapter)\b[^\d\n]{0,60}?(\d+\.\d+)|(?:微调后|合并后|训练后)[^\d\n]{0,12}(\d+\.\d+)",
    re.IGNORECASE,
)
_BASE_SCORE = re.compile(
    r"\b(?:base|untrained|untouched|original|before|without adapter)\b[^\d\n]{0,60}?(\d+\.\d+)|(?:基座|原模型|微调前)[^\d\n]{0,12}(\d+\.\d+)",
    re.IGNORECASE,
)
_SAME_SCORE = 0.04


@check("scores-like-base")
def scores_like_base(seen: Observations) -> Shown | None:
    """What was trained and the base have nearly the same score."""
    text = seen.text or seen.symptom
    tuned, base = _TUNED_SCORE.search(text), _BASE_SCORE.search(text)
    if tuned is None or base is None:
        return None
    first, second = (float(next(filter(None, match.groups()))) for match in (tuned, base))
    if not second or abs(first / second - 1) > _SAME_SCORE:
        return None
    return Shown({"tuned": first, "base": second})


_PROCESS_ROW = re.compile(
    r"^\|?\s+(?P<card>\d+)\s+(?:\S+\s+){1,3}\d+\s+C\s+\S*python", re.MULTILINE
)
_SETTING = re.compile(
    r"^\s*(?P<label>(?!step|epoch|iter|rank|info|warn|\d)[^\W\d][^{}\n:]{1,40}?|\d+\.\d+(?:\.\d+)?)\s*[:：]?\s*(?:\{|loss\b)",
    re.IGNORECASE | re.MULTILINE,
)


@check("settings-compared")
def settings_compared(seen: Observations) -> Shown | None:
    """A few losses stand behind the names of settings: a comparison, not a curve."""
    loss = seen.metric("loss")
    labels = list(dict.fromkeys(m["label"].strip() for m in _SETTING.finditer(seen.text)))
    if not 2 <= len(loss) <= 4 or len(labels) != len(loss) or loss.bad is not None:
        return None
    return Shown({"first": labels[0], "second": labels[1]})


@check("same-device")
def same_device(seen: Observations) -> Shown | None:
    """The first card is nearly full while another one is nearly empty, or holds all processes."""
    cards = [match["card"] for match in _PROCESS_ROW.finditer(seen.text)]
    if len(cards) >= 2 and len(set(cards)) == 1:
        return Shown({"full": 100.0, "empty": 0.0})
    used = [
        (float(a), float(b)) for a, b in re.findall(r"(\d+)\s*MiB\s*/\s*(\d+)\s*MiB", seen.text) if float(b) > 0
    ]  # fmt: skip
    shares = [a / b for a, b in used]
    if len(shares) < 2 or max(shares) < 0.7 or min(shares) > 0.1:
        return None
    return Shown({"full": 100 * max(shares), "empty": 100 * min(shares)})
