"""What a person says about the plan becomes a plan change, in both languages."""

from __future__ import annotations

import pytest

from tutor_agent.brain.builtin.changes import find_changes
from tutor_agent.brain.builtin.typos import repaired

SETS = [
    ("学习率调到 1e-5", {"optim.learning_rate": 1e-5}),
    ("把学习率从2e-4降到5e-5", {"optim.learning_rate": 5e-5}),
    ("学习率 1×10^-5", {"optim.learning_rate": 1e-5}),
    ("lr 1e-5", {"optim.learning_rate": 1e-5}),
    ("LR=3e-4", {"optim.learning_rate": 3e-4}),
    ("learning rate from 2e-4 to 1e-4", {"optim.learning_rate": 1e-4}),
    ("set lr to 0.0001 and rank to 32", {"optim.learning_rate": 1e-4, "params.r": 32}),
    ("leraning rate 2e-5", {"optim.learning_rate": 2e-5}),
    ("use rank 8", {"params.r": 8}),
    ("rank 改成 8", {"params.r": 8}),
    ("r=16 alpha=32", {"params.r": 16, "params.alpha": 32}),
    ("lora 秩设为 4", {"params.r": 4}),
    ("只训练 1 轮", {"optim.epochs": 1.0}),
    ("train 3 epochs", {"optim.epochs": 3.0}),
    ("训练三轮", {"optim.epochs": 3.0}),
    ("训练半轮", {"optim.epochs": 0.5}),
    ("one epoch only", {"optim.epochs": 1.0}),
    ("epochs=5", {"optim.epochs": 5.0}),
    ("把轮数从 2 改成 4", {"optim.epochs": 4.0}),
    ("only 20 steps", {"optim.max_steps": 20}),
    ("跑个20步看看", {"optim.max_steps": 20}),
    ("最多 100 步", {"optim.max_steps": 100}),
    ("batch size 8, grad accumulation 4", {"optim.micro_batch": 8, "optim.accumulate": 4}),
    ("batch 从 8 改到 4", {"optim.micro_batch": 4}),
    ("批大小改为 2", {"optim.micro_batch": 2}),
    ("梯度累积改成16", {"optim.accumulate": 16}),
    ("max length 512", {"data.max_length": 512}),
    ("max_length 2k", {"data.max_length": 2048}),
    ("最大长度改成 1,024", {"data.max_length": 1024}),
    ("warmup 10%", {"optim.warmup": 0.1}),
    ("预热 100 步", {"optim.warmup": 100.0}),
    ("weight decay 0.01", {"optim.weight_decay": 0.01}),
    ("权重衰减设成 0.1", {"optim.weight_decay": 0.1}),
    ("dropout 0.1", {"params.dropout": 0.1}),
    ("去掉 dropout", {"params.dropout": 0.0}),
    ("梯度裁剪 0.5", {"optim.max_grad_norm": 0.5}),
    ("关闭梯度裁剪", {"optim.max_grad_norm": 0.0}),
    ("seed 7", {"optim.seed": 7}),
    ("用余弦调度", {"optim.schedule": "cosine"}),
    ("constant lr", {"optim.schedule": "constant"}),
    ("用 adafactor 优化器", {"optim.optimizer": "adafactor"}),
    ("use 8-bit adam", {"optim.optimizer": "adamw_8bit"}),
    ("bf16", {"model.dtype": "bf16"}),
    ("用 fp32 精度", {"model.dtype": "fp32"}),
    ("用 flash attention", {"model.attention": "flash"}),
    ("use flash attention 2", {"model.attention": "flash"}),
    ("换成 flex attention", {"model.attention": "flex"}),
    ("打开 liger", {"model.liger": True}),
    ("turn on the liger kernels", {"model.liger": True}),
    ("不用 liger", {"model.liger": False}),
    ("打开 lieger", {"model.liger": True}),
    ("use torch.compile", {"model.compile": True}),
    ("开启编译", {"model.compile": True}),
    ("用分类头", {"model.head": "classifier"}),
    ("use a classification head", {"model.head": "classifier"}),
    ("不要分类头", {"model.head": "language_model"}),
    ("按长度分批", {"data.batching": "by_length"}),
    ("group by length", {"data.batching": "by_length"}),
    ("改回随机分批", {"data.batching": "random"}),
    ("设为可复现", {"optim.deterministic": True}),
    ("make the run reproducible", {"optim.deterministic": True}),
    ("lr 1e-4, reproducible", {"optim.learning_rate": 1e-4, "optim.deterministic": True}),
    ("用 wsd 调度", {"optim.schedule": "warmup_stable_decay"}),
    ("warmup stable decay", {"optim.schedule": "warmup_stable_decay"}),
    ("用 QLoRA", {"params.quantization": "nf4"}),
    ("4bit 量化", {"params.quantization": "nf4"}),
    ("load_in_8bit", {"params.quantization": "int8"}),
    ("关闭量化", {"params.quantization": "none"}),
    ("don't quantize", {"params.quantization": "none"}),
    ("生成 64 条来评估", {"evaluation.generated_rows": 64}),
    ("generate 64 answers for the evaluation", {"evaluation.generated_rows": 64}),
    ("生成 5 条示例", {"evaluation.samples": 5}),
    ("max new tokens 64", {"evaluation.max_new_tokens": 64}),
    ("最多生成 256 个 token", {"evaluation.max_new_tokens": 256}),
    ("把指标记到 wandb", {"trackers": ["wandb"]}),
    ("log to wandb and tensorboard", {"trackers": ["wandb", "tensorboard"]}),
    ("swanlab 记录指标", {"trackers": ["swanlab"]}),
    ("别用 wandb", {"trackers": []}),
    ("no trackers", {"trackers": []}),
    ("evaluate with bleu and chrf", {"evaluation.metrics": ["bleu", "chrf"]}),
    ("评估指标用 ROUGE 和 F1", {"evaluation.metrics": ["rougeL", "f1"]}),
    ("用全参", {"skill": "full-fine-tuning"}),
    ("switch to full fine-tuning", {"skill": "full-fine-tuning"}),
    ("别用 LoRA，用冻结", {"skill": "layer-freezing"}),
    ("don't use LoRA, freeze layers", {"skill": "layer-freezing"}),
    ("用 lora", {"skill": "lora"}),
    ("训练最后 4 层", {"params.train_last": 4}),
    ("train only the last 4 layers", {"params.train_last": 4}),
    ("attention only", {"params.targets": "attention"}),
    ("训练所有线性层", {"params.targets": "all-linear"}),
    ("开启 packing", {"data.packing": True}),
    ("don't use packing", {"data.packing": False}),
    ("关闭梯度检查点", {"launch.checkpointing": False}),
    ("enable gradient checkpointing", {"launch.checkpointing": True}),
    ("用 4 张卡", {"launch.processes": 4}),
    ("用 fsdp", {"launch.sharding": "fsdp2"}),
    ("zero3", {"launch.sharding": "zero3"}),
    ("不要早停", {"evaluation.early_stopping": None}),
    ("turn off early stopping", {"evaluation.early_stopping": None}),
    ("早停 5 次", {"evaluation.early_stopping": 5}),
    ("每 50 步评估一次", {"evaluation.every": 50.0}),
    ("eval every 50 steps", {"evaluation.every": 50.0}),
    ("holdout 20%", {"data.holdout": 0.2}),
    ("只用前 500 条数据", {"data.limit": 500}),
    ("use only 1k rows", {"data.limit": 1000}),
    ("开自动修复", {"guard.autopilot": "bounded"}),
    (
        "lr 换成 5e-5，rank 换成 4，只跑 10 步",
        {"optim.learning_rate": 5e-5, "params.r": 4, "optim.max_steps": 10},
    ),
]

MOVES = [
    ("batch 大一点", "optim.micro_batch", "multiply", 2),
    ("把 batch 调小", "optim.micro_batch", "multiply", 0.5),
    ("学习率减半", "optim.learning_rate", "multiply", 0.5),
    ("学习率翻倍", "optim.learning_rate", "multiply", 2),
    ("学习率缩小10倍", "optim.learning_rate", "multiply", 0.1),
    ("学习率乘以 2", "optim.learning_rate", "multiply", 2.0),
    ("lr/2", "optim.learning_rate", "multiply", 0.5),
    ("lower the learning rate", "optim.learning_rate", "multiply", 0.5),
    ("halve the learning rate", "optim.learning_rate", "multiply", 0.5),
    ("学习率高了，调低", "optim.learning_rate", "multiply", 0.5),
    ("reduce the batch size by half", "optim.micro_batch", "multiply", 0.5),
    ("多训练两轮", "optim.epochs", "add", 2.0),
    ("2 more epochs", "optim.epochs", "add", 2.0),
    ("再训练一轮", "optim.epochs", "add", 1.0),
]

NOTHING = [
    "我有 500 条数据",
    "at step 20 the loss exploded",
    "第 7 步出错了",
    "不要 LoRA",
    "wandb 报错了",
    "准确率太低",
    "the F1 is 0.6",
    "你好",
    "我想微调一个模型",
]


@pytest.mark.parametrize(("words", "expected"), SETS)
def test_fields_are_set(words: str, expected: dict[str, object]) -> None:
    found = find_changes(repaired(words))
    assert {entry.path: entry.value for entry in found} == expected
    assert {entry.op for entry in found} == {"set"}


@pytest.mark.parametrize(("words", "path", "op", "value"), MOVES)
def test_fields_are_moved(words: str, path: str, op: str, value: float) -> None:
    (entry,) = find_changes(words)
    assert (entry.path, entry.op) == (path, op)
    assert entry.value == pytest.approx(value)


@pytest.mark.parametrize("words", NOTHING)
def test_other_sentences_change_nothing(words: str) -> None:
    assert find_changes(words) == ()


def test_every_named_field_exists_in_the_plan_or_in_a_skill() -> None:
    from tutor_agent.brain.builtin.fields import fields
    from tutor_agent.core.changes import flatten
    from tutor_agent.core.plan import DataChoice, ModelChoice, OptimChoice, Plan

    plan = Plan(
        name="x",
        skill="lora",
        task="chat",
        model=ModelChoice(source="m"),
        data=DataChoice(train="d"),
        optim=OptimChoice(learning_rate=1e-4),
    )
    known = set(flatten(plan))
    assert {path for path in fields() if not path.startswith("params.")} <= known
    assert known - set(fields()) <= {"name", "params", "model.revision", "data.columns"}
