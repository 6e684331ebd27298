"""Training scripts as different people write them."""

from __future__ import annotations

import json

GUIDE = """\
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

name = "deepseek-ai/DeepSeek-67B"
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model.to(device)
files = {"train": "train_data.csv", "validation": "val_data.csv", "test": "test_data.csv"}
dataset = load_dataset("csv", data_files=files)

def encode(batch):
    return tokenizer(batch["text"], padding="max_length", truncation=True)

encoded = dataset.map(encode, batched=True)
args = TrainingArguments(
    output_dir="./results",
    num_train_epochs=15,
    per_device_train_batch_size=128,
    per_device_eval_batch_size=128,
    learning_rate=3e-5,
    warmup_steps=500,
    weight_decay=0.01,
    logging_dir="./logs",
    logging_steps=10,
    evaluation_strategy="steps",
    eval_steps=500,
    save_strategy="steps",
    save_steps=500,
    load_best_model_at_end=True,
    metric_for_best_model="eval_loss",
)
trainer = Trainer(
    model=model,
    args=args,
    train_dataset=encoded["train"],
    eval_dataset=encoded["validation"],
    tokenizer=tokenizer,
)
trainer.train()
print(trainer.evaluate())
"""

PREPARATION = """\
import pandas as pd
from sklearn.model_selection import train_test_split

frame = pd.read_csv("raw_data.csv")
frame = frame.drop_duplicates()
frame = frame.dropna()
train, rest = train_test_split(frame, test_size=0.2, random_state=42)
val, test = train_test_split(rest, test_size=0.5, random_state=42)
train.to_csv("train_data.csv", index=False)
val.to_csv("val_data.csv", index=False)
test.to_csv("test_data.csv", index=False)
"""

ARGPARSE_LORA = """\
import argparse, os
from transformers import (AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling,
                          EarlyStoppingCallback, Trainer, TrainingArguments)
from peft import LoraConfig, TaskType, get_peft_model
from datasets import load_dataset

def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct")
    parser.add_argument("--data-dir", default="corpus")
    parser.add_argument("--lr", type=float, default="2e-4")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()

def main():
    args = parse()
    tok = AutoTokenizer.from_pretrained(args.model)
    tok.pad_token = tok.eos_token
    base = AutoModelForCausalLM.from_pretrained(args.model, trust_remote_code=True)
    config = LoraConfig(task_type=TaskType.CAUSAL_LM, r=16, lora_alpha=2 * 16, lora_dropout=0.05,
                        target_modules=["q_proj", "v_proj"])
    model = get_peft_model(base, config)
    rows = load_dataset("json", data_files=os.path.join(args.data_dir, "rows.jsonl"), split="train")
    parts = rows.train_test_split(test_size=0.05, seed=1)
    def enc(x):
        return tok(x["body"], truncation=True, max_length=512)
    parts = parts.map(enc)
    ta = TrainingArguments("out", learning_rate=args.lr, num_train_epochs=args.epochs, seed=args.seed,
                           bf16=args.bf16, warmup_ratio=0.1, eval_strategy="epoch", save_strategy="epoch",
                           load_best_model_at_end=True, lr_scheduler_type="cosine")
    trainer = Trainer(model, ta, DataCollatorForLanguageModeling(tok, mlm=False), parts["train"], parts["test"],
                      callbacks=[EarlyStoppingCallback(early_stopping_patience=2)])
    trainer.train()

if __name__ == "__main__":
    main()
"""

SFT = """\
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
import torch

MODEL_ID = "Qwen/Qwen2.5-7B-Instruct"
bnb = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
model = AutoModelForCausalLM.from_pretrained(MODEL_ID, quantization_config=bnb, device_map="auto",
                                             attn_implementation="flash_attention_2")
common = dict(per_device_train_batch_size=2, gradient_accumulation_steps=8, learning_rate=1e-4)
cfg = SFTConfig(output_dir="sft", max_seq_length=2048, packing=True, max_steps=300, bf16=True, optim="paged_adamw_8bit",
                report_to="wandb", gradient_checkpointing=True, neftune_noise_alpha=5, **common)
trainer = SFTTrainer(model=model, args=cfg, train_dataset=load_dataset("json", data_files="chat.jsonl", split="train"),
                     peft_config=LoraConfig(r=64, lora_alpha=16, target_modules="all-linear"))
trainer.train()
"""

SFT_BY_NAME = """\
from datasets import load_dataset
from trl import SFTTrainer
SFTTrainer(model="facebook/opt-125m", train_dataset=load_dataset("stanfordnlp/imdb", split="train"),
           dataset_text_field="text", max_seq_length=256).train()
"""

FREEZING = """\
import pandas as pd
from pathlib import Path
from datasets import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, AutoTokenizer
ROOT = Path("data")
tok = AutoTokenizer.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
model = AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")
for param in model.parameters():
    param.requires_grad = False
for layer in model.model.layers[-4:]:
    for param in layer.parameters():
        param.requires_grad = True
ds = Dataset.from_pandas(pd.read_csv(ROOT / "notes.csv"))
def f(b):
    out = tok(b["note"], truncation=True, max_length=128, padding="max_length")
    out["labels"] = out["input_ids"].copy()
    return out
ds = ds.map(f, batched=True)
Trainer(model=model, args=TrainingArguments("o", per_device_train_batch_size=4), train_dataset=ds).train()
"""

CLASSIFIER = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments, Trainer
import datasets as d
class Config:
    base = "HuggingFaceTB/SmolLM2-135M-Instruct"
    lr = 2e-5
    batch = 16
cfg = Config()
ds = d.load_dataset("csv", data_files={"train": ["reviews.csv"], "test": ["held.csv"]})
tok = AutoTokenizer.from_pretrained(cfg.base)
ds = ds.map(lambda r: tok(r["review"], truncation=True), batched=True)
model = AutoModelForSequenceClassification.from_pretrained(cfg.base, num_labels=2)
def metrics(p):
    return {}
t = Trainer(model=model, compute_metrics=metrics, train_dataset=ds["train"], eval_dataset=ds["test"], processing_class=tok,
            args=TrainingArguments(output_dir=f"out-{cfg.batch}", learning_rate=cfg.lr, per_device_train_batch_size=cfg.batch,
                                   eval_strategy="epoch", num_train_epochs=2))
t.train()
"""

CONDITIONAL = """\
import os, torch
from transformers import *
lr = float(os.environ["LR"])
steps = 100
if torch.cuda.is_available():
    bs = 32
else:
    bs = 2
model = AutoModelForCausalLM.from_pretrained(os.environ.get("MODEL"))
args = TrainingArguments("o", learning_rate=lr, per_device_train_batch_size=bs, max_steps=steps * 3, fp16=True,
                         eval_strategy="steps", eval_steps=100, save_steps=250, load_best_model_at_end=True)
class Weighted(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False):
        return model(**inputs).loss
trainer = Weighted(model=model, args=args, train_dataset=torch.load("x.pt"))
trainer.train()
"""

OLD_NAMES = """\
from transformers import AdamW, AutoModelWithLMHead, AutoTokenizer, LineByLineTextDataset, TrainingArguments
from transformers import DataCollatorForLanguageModeling, Trainer
tokenizer = AutoTokenizer.from_pretrained("gpt2", use_auth_token=True)
model = AutoModelWithLMHead.from_pretrained("gpt2")
train = LineByLineTextDataset(tokenizer=tokenizer, file_path="book.txt", block_size=64)
args = TrainingArguments(output_dir="o", overwrite_output_dir=True, per_gpu_train_batch_size=4, adafactor=True,
                         group_by_length=True, no_cuda=True, evaluate_during_training=True)
trainer = Trainer(model=model, args=args, train_dataset=train, data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer))
trainer.train(model_path="o")
"""

OPTIONS = """\
from dataclasses import dataclass, field
from transformers import HfArgumentParser, TrainingArguments, Trainer, AutoModelForCausalLM, DataCollatorForSeq2Seq
from datasets import load_dataset
@dataclass
class Ours:
    model_name: str = field(default="Qwen/Qwen2.5-0.5B")
    file: str = "a.jsonl"
ours, args = HfArgumentParser((Ours, TrainingArguments)).parse_args_into_dataclasses()
model = AutoModelForCausalLM.from_pretrained(ours.model_name)
ds = load_dataset("json", data_files=ours.file)
Trainer(model=model, args=args, train_dataset=ds["train"], data_collator=DataCollatorForSeq2Seq(None)).train()
"""

HELPERS = """\
from transformers import AutoModelForCausalLM as M, Trainer as T, TrainingArguments as A
import datasets

def load(name="HuggingFaceTB/SmolLM2-135M-Instruct"):
    return M.from_pretrained(name, torch_dtype="auto")

def rows(folder, kind="jsonl"):
    return datasets.load_dataset("json", data_files={"train": f"{folder}/train.{kind}", "validation": f"{folder}/dev.{kind}"})

def run(lr=1e-3, **extra):
    data = rows("corpus")
    settings = {"output_dir": "o", "learning_rate": lr, "weight_decay": 1 / 10}
    settings["num_train_epochs"] = 4
    t = T(model=load(), args=A(**settings), train_dataset=data["train"], eval_dataset=data["validation"])
    t.train()

run(lr=5e-5)
"""

LOOP = """\
from accelerate import Accelerator
import torch
accelerator = Accelerator()
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for batch in loader:
    loss = model(**batch).loss
    accelerator.backward(loss)
    optimizer.step()
"""

DPO = "from trl import DPOTrainer\nDPOTrainer(model='gpt2', train_dataset=None).train()\n"
SUMMARIES = (
    "from transformers import AutoModelForSeq2SeqLM, Seq2SeqTrainer\n"
    "m = AutoModelForSeq2SeqLM.from_pretrained('t5-small')\nSeq2SeqTrainer(model=m).train()\n"
)
PYTHON2 = "import os\nprint 'training'\nraise ValueError, 'x'\n"
BROKEN = "import os\nargs = dict(a=1\nb = 2\n"
NOTHING = "import os\nprint(os.getcwd())\n"


def notebook(code: str) -> str:
    """Return code as a notebook of two cells, with a shell line and a text cell."""
    lines = code.splitlines(keepends=True)
    half = next(i for i, line in enumerate(lines) if line.startswith("def "))
    cells = [
        {"cell_type": "code", "source": ["!pip install transformers\n", "%matplotlib inline\n"]},
        {"cell_type": "markdown", "source": "# Training"},
        {"cell_type": "code", "source": lines[:half]},
        {"cell_type": "code", "source": "".join(lines[half:])},
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
