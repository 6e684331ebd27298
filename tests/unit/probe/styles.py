"""More training scripts as people write them: tutorials, notebooks, objects, other libraries."""

from __future__ import annotations

TUTORIAL = r"""from datasets import Dataset
import pandas as pd
import torch
from transformers import AutoTokenizer, AutoModelForCausalLM, DataCollatorForSeq2Seq, TrainingArguments, Trainer
from modelscope import snapshot_download
from peft import LoraConfig, TaskType, get_peft_model

MAX_LENGTH = 384

def process_func(example):
    instruction = tokenizer(f"User: {example['instruction'] + example['input']}\n\n", add_special_tokens=False)
    response = tokenizer(f"Assistant: {example['output']}", add_special_tokens=False)
    input_ids = instruction["input_ids"] + response["input_ids"] + [tokenizer.pad_token_id]
    attention_mask = instruction["attention_mask"] + response["attention_mask"] + [1]
    labels = [-100] * len(instruction["input_ids"]) + response["input_ids"] + [tokenizer.pad_token_id]
    if len(input_ids) > MAX_LENGTH:
        input_ids = input_ids[:MAX_LENGTH]
        attention_mask = attention_mask[:MAX_LENGTH]
        labels = labels[:MAX_LENGTH]
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}

if __name__ == "__main__":
    model_dir = snapshot_download("deepseek-ai/deepseek-llm-7b-chat", cache_dir="/root/autodl-tmp", revision="master")
    tokenizer = AutoTokenizer.from_pretrained(model_dir, use_fast=False, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(model_dir, torch_dtype=torch.half, device_map="auto", trust_remote_code=True)
    model.enable_input_require_grads()
    config = LoraConfig(task_type=TaskType.CAUSAL_LM, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
                        inference_mode=False, r=8, lora_alpha=32, lora_dropout=0.1)
    model = get_peft_model(model, config)
    df = pd.read_json("./huanhuan.json")
    ds = Dataset.from_pandas(df)
    tokenized_id = ds.map(process_func, remove_columns=ds.column_names)
    args = TrainingArguments(
        output_dir="./output/DeepSeek",
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        logging_steps=10,
        num_train_epochs=3,
        save_steps=100,
        learning_rate=1e-4,
        save_on_each_node=True,
        gradient_checkpointing=True,
    )
    trainer = Trainer(model=model, args=args, train_dataset=tokenized_id, data_collator=DataCollatorForSeq2Seq(tokenizer=tokenizer, padding=True))
    trainer.train()
"""

OBJECTS = """\
from pathlib import Path
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, DataCollatorForLanguageModeling

ROOT = Path(__file__).resolve().parent


class Config:
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    lr = 1e-3
    files = [str(ROOT / "data" / "part1.jsonl"), str(ROOT / "data" / "part2.jsonl")]
    steps = 2_000


class Tuner:
    def __init__(self, cfg):
        self.cfg = cfg
        self.tok = AutoTokenizer.from_pretrained(cfg.name)
        self.model = AutoModelForCausalLM.from_pretrained(cfg.name)

    def data(self):
        ds = load_dataset("json", data_files=self.cfg.files, split="train")
        return ds.map(self._encode, batched=True)

    def _encode(self, rows):
        return self.tok(rows["text"], truncation=True, max_length=128)

    def run(self):
        args = TrainingArguments(output_dir="x", learning_rate=self.cfg.lr, max_steps=self.cfg.steps, lr_scheduler_type="polynomial", adam_beta2=0.95)
        trainer = MyTrainer(model=self.model, args=args, train_dataset=self.data(), data_collator=DataCollatorForLanguageModeling(self.tok, mlm=False))
        trainer.train()


class MyTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False):
        out = model(**inputs)
        return (out.loss, out) if return_outputs else out.loss


if __name__ == "__main__":
    Tuner(Config()).run()
"""

OWN_ARGUMENTS = """\
from dataclasses import dataclass, field
from typing import Optional
import transformers
from datasets import load_dataset


@dataclass
class ModelArguments:
    model_name_or_path: Optional[str] = field(default="meta-llama/Llama-3.2-1B", metadata={"help": "x"})


@dataclass
class DataArguments:
    data_path: str = field(default="alpaca_data.json", metadata={"help": "Path to the training data."})


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    cache_dir: Optional[str] = field(default=None)
    optim: str = field(default="adamw_torch")
    model_max_length: int = field(default=512)
    learning_rate: float = field(default=2e-5)


def train():
    parser = transformers.HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    model = transformers.AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path, cache_dir=training_args.cache_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_args.model_name_or_path, model_max_length=training_args.model_max_length, padding_side="right")
    ds = load_dataset("json", data_files=data_args.data_path)["train"]

    def encode(row):
        out = tokenizer(row["instruction"] + row["output"], truncation=True)
        out["labels"] = out["input_ids"].copy()
        return out

    ds = ds.map(encode)
    trainer = transformers.Trainer(model=model, tokenizer=tokenizer, args=training_args, train_dataset=ds)
    trainer.train()
    trainer.save_state()


if __name__ == "__main__":
    train()
"""

OPPOSITE = r"""from transformers import *
import transformers as tf
from datasets import load_dataset

m = AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M")
t = AutoTokenizer.from_pretrained("HuggingFaceTB/SmolLM2-135M")
for p in m.parameters():
    p.requires_grad = False
for layer in m.model.layers[-4:]:
    for p in layer.parameters():
        p.requires_grad = True
raw = load_dataset("csv", data_files="qa.csv")["train"].train_test_split(0.1)


def enc(r):
    x = t("Q: " + r["question"] + "\nA: " + r["answer"], truncation=True, max_length=256, padding="max_length")
    x["labels"] = x["input_ids"][:]
    return x


d = raw.map(enc)
a = TrainingArguments("o", per_gpu_train_batch_size=16, num_train_epochs=10, learning_rate=5e-4, no_cuda=True, fp16=True, overwrite_output_dir=True)
tf.Trainer(m, a, train_dataset=d["train"], eval_dataset=d["test"]).train()
"""

LIGHTNING = """\
import pytorch_lightning as pl
from transformers import AutoModelForCausalLM
class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = AutoModelForCausalLM.from_pretrained("gpt2")
    def training_step(self, batch, i):
        return self.model(**batch).loss
trainer = pl.Trainer(max_epochs=3, accelerator="gpu")
trainer.fit(Lit())
"""

UNSLOTH = """\
from unsloth import FastLanguageModel, is_bfloat16_supported
from trl import SFTTrainer
from transformers import TrainingArguments
from datasets import load_dataset
max_seq_length = 2048
model, tokenizer = FastLanguageModel.from_pretrained(model_name="unsloth/Qwen2.5-7B-bnb-4bit", max_seq_length=max_seq_length, dtype=None, load_in_4bit=True)
model = FastLanguageModel.get_peft_model(model, r=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    lora_alpha=16, lora_dropout=0, bias="none", use_gradient_checkpointing="unsloth", random_state=3407, use_rslora=False)
dataset = load_dataset("yahma/alpaca-cleaned", split="train")
trainer = SFTTrainer(model=model, tokenizer=tokenizer, train_dataset=dataset, dataset_text_field="text", max_seq_length=max_seq_length, dataset_num_proc=2, packing=False,
    args=TrainingArguments(per_device_train_batch_size=2, gradient_accumulation_steps=4, warmup_steps=5, max_steps=60, learning_rate=2e-4,
        fp16=not is_bfloat16_supported(), bf16=is_bfloat16_supported(), logging_steps=1, optim="adamw_8bit", weight_decay=0.01, lr_scheduler_type="linear", seed=3407, output_dir="outputs"))
trainer.train()
"""

NEW_SFT = """\
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

dataset = load_dataset("json", data_files="chats.jsonl", split="train").train_test_split(test_size=0.05, seed=7)
config = SFTConfig(output_dir="sft", max_length=1024, packing=True, assistant_only_loss=True, learning_rate=1e-4, num_train_epochs=2,
                   per_device_train_batch_size=2, gradient_accumulation_steps=8, gradient_checkpointing=True, bf16=True, eval_strategy="steps",
                   eval_steps=50, use_liger_kernel=True, neftune_noise_alpha=5, seed=7)
trainer = SFTTrainer("Qwen/Qwen2.5-0.5B-Instruct", args=config, train_dataset=dataset["train"], eval_dataset=dataset["test"],
                     peft_config=LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", use_dora=True))
trainer.train()
"""

CLASSES = """\
import numpy as np
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments
import evaluate

ckpt = "Qwen/Qwen2.5-0.5B"
raw = load_dataset("csv", data_files={"train": "sentiment_train.csv", "test": "sentiment_test.csv"})
tok = AutoTokenizer.from_pretrained(ckpt)
model = AutoModelForSequenceClassification.from_pretrained(ckpt, num_labels=3)
ds = raw.map(lambda e: tok(e["text"], truncation=True), batched=True)
acc = evaluate.load("accuracy")
f1 = evaluate.load("f1")
def compute_metrics(p):
    logits, labels = p
    pred = np.argmax(logits, axis=-1)
    return {**acc.compute(predictions=pred, references=labels), **f1.compute(predictions=pred, references=labels, average="macro")}
args = TrainingArguments(output_dir="cls", learning_rate=2e-5, per_device_train_batch_size=16, num_train_epochs=2, weight_decay=0.01,
                         eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="f1", push_to_hub=False)
trainer = Trainer(model=model, args=args, train_dataset=ds["train"], eval_dataset=ds["test"], processing_class=tok,
                  data_collator=DataCollatorWithPadding(tok), compute_metrics=compute_metrics)
trainer.train()
"""

OUTSIDE = """\
import os, sys, yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from datasets import load_dataset
cfg = yaml.safe_load(open("config.yaml"))
path = os.environ["MODEL_PATH"]
tok = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)
ds = load_dataset("json", data_files=sys.argv[1], split="train")
def f(x):
    y = tok(x["text"], truncation=True, max_length=cfg["max_length"])
    y["labels"] = y["input_ids"]
    return y
ds = ds.map(f)
Trainer(model=model, args=TrainingArguments("o", learning_rate=cfg["lr"], num_train_epochs=float(os.getenv("EPOCHS", "3"))), train_dataset=ds).train()
"""

SWITCHED = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator
from peft import LoraConfig, get_peft_model, TaskType
from datasets import load_from_disk, load_dataset

USE_LORA = False
DEBUG = True
name = "deepseek-ai/deepseek-coder-1.3b" + "-base"
model = AutoModelForCausalLM.from_pretrained(name, torch_dtype=torch.bfloat16, attn_implementation="flash_attention_2")
if USE_LORA:
    model = get_peft_model(model, LoraConfig(task_type=TaskType.CAUSAL_LM, r=8))
lr = 1e-5 if not USE_LORA else 2e-4
bs = 1
if torch.cuda.device_count() > 1:
    bs = 4
ds = load_dataset("parquet", data_files={"train": ["a.parquet"], "validation": "b.parquet"})
args = TrainingArguments("o", bf16=True, learning_rate=lr, per_device_train_batch_size=bs, deepspeed="ds.json", fsdp="full_shard auto_wrap", num_train_epochs=1, save_steps=0.1, eval_strategy="steps", eval_steps=0.1)
trainer = Trainer(model=model, args=args, train_dataset=ds["train"], eval_dataset=ds["validation"], data_collator=default_data_collator)
trainer.train(resume_from_checkpoint=True)
"""

NOTEBOOK = r"""{"cells": [
 {"cell_type": "markdown", "source": ["# Fine-tune\n"], "metadata": {}},
 {"cell_type": "code", "source": ["!pip install -q transformers==4.38 peft\n", "%load_ext autoreload\n", "import os\n", "os.environ['WANDB_DISABLED'] = 'true'"], "metadata": {}, "outputs": [], "execution_count": 1},
 {"cell_type": "code", "source": "CFG = dict(\n    learning_rate=1e-4,\n    num_train_epochs=2,\n    per_device_train_batch_size=8,\n    evaluation_strategy='no',\n)\nMODEL = 'EleutherAI/pythia-160m'", "metadata": {}, "outputs": [], "execution_count": 2},
 {"cell_type": "code", "source": ["from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, DataCollatorForLanguageModeling\n", "from peft import get_peft_model, LoraConfig\n", "from datasets import Dataset\n", "import pandas as pd\n", "df = pd.read_csv('reviews.csv')\n", "df.head()\n", "tok = AutoTokenizer.from_pretrained(MODEL); tok.pad_token = tok.eos_token\n", "base = AutoModelForCausalLM.from_pretrained(MODEL, load_in_8bit=True)\n", "model = get_peft_model(base, LoraConfig(r=4, target_modules=['query_key_value']))\n", "model.print_trainable_parameters()"], "metadata": {}, "outputs": [], "execution_count": 3},
 {"cell_type": "code", "source": ["ds = Dataset.from_pandas(df).train_test_split(test_size=0.2, seed=1)\n", "ds = ds.map(lambda e: tok(e['review'], truncation=True, max_length=128), batched=True)\n", "trainer = Trainer(model=model, args=TrainingArguments('out', **CFG), train_dataset=ds['train'], eval_dataset=ds['test'], data_collator=DataCollatorForLanguageModeling(tok, mlm=False))\n", "trainer.train()\n", "model?\n"], "metadata": {}, "outputs": [], "execution_count": 4}
], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
"""

OLD_SFT = """\
import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainingArguments
from trl import SFTTrainer

bnb_config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float16, bnb_4bit_use_double_quant=False)
base = "NousResearch/Llama-2-7b-chat-hf"
model = AutoModelForCausalLM.from_pretrained(base, quantization_config=bnb_config, device_map={"": 0})
model.config.use_cache = False
tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=True)
tokenizer.pad_token = tokenizer.eos_token
peft_config = LoraConfig(lora_alpha=16, lora_dropout=0.1, r=64, bias="none", task_type="CAUSAL_LM")
dataset = load_dataset("json", data_files="guanaco.jsonl", split="train")
training_arguments = TrainingArguments(
    output_dir="./results", num_train_epochs=1, per_device_train_batch_size=4, gradient_accumulation_steps=1, optim="paged_adamw_32bit",
    save_steps=0, logging_steps=25, learning_rate=2e-4, weight_decay=0.001, fp16=False, bf16=False, max_grad_norm=0.3, max_steps=-1,
    warmup_ratio=0.03, group_by_length=True, lr_scheduler_type="cosine", report_to="tensorboard",
)
trainer = SFTTrainer(model=model, train_dataset=dataset, peft_config=peft_config, dataset_text_field="text", max_seq_length=None,
                     tokenizer=tokenizer, args=training_arguments, packing=False)
trainer.train()
trainer.model.save_pretrained("llama-2-7b-miniguanaco")
"""
