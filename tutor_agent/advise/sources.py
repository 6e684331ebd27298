"""Where the numbers come from, written once."""

from __future__ import annotations

GUIDE = "the founding guide"
ASKED = "your request"
FACTS = "the facts found here"
FORECAST = "the tutor's forecast"
TRANSFORMERS = "transformers 5 documentation"
LORA_REGRET = "LoRA Without Regret (thinkingmachines.ai/blog/lora)"
UNSLOTH = "Unsloth LoRA guide"
QLORA = "QLoRA scripts (arXiv:2305.14314)"
LLAMA_FACTORY = "LLaMA-Factory examples"
AXOLOTL = "axolotl docs/agents/sft.md"
DEEPSEEK_CODER = "DeepSeek-Coder finetune script"
DEEPSEEK_MOE = "DeepSeek-MoE finetune script"
ESFT = "DeepSeek ESFT configs/base.yaml"
CPU_MEASURED = "measured on SmolLM2-135M, two CPU threads"
