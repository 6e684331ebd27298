"""The words around the turns of a conversation: the model's own template, or a fitting one.

A tokenizer without a chat template gets one made of tokens that it already has, so that no new
embedding is needed, and keeps it when it is saved: what was trained is what is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.core.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.core.samples import Message

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_DEEPSEEK = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<｜Assistant｜>{{ m['content'] }}{{ eos_token }}"
    "{% elif m['role'] == 'system' %}{{ m['content'] }}"
    "{% else %}<｜User｜>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"
)
_PLAIN = (
    "{% for m in messages %}### {{ m['role'] | capitalize }}:\n{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
_MARKER = "tutor-answer"


def ensure_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Give `tokenizer` a chat template if it has none; return the name of the one chosen.

    Raises:
        NotPossibleError: The tokenizer has no token that ends an answer.
    """
    if tokenizer.eos_token_id is None:
        raise NotPossibleError(
            "The tokenizer has no end-of-sequence token, so the model could never learn to stop. Set `eos_token` in "
            "tokenizer_config.json.",
            "分词器没有结束符（EOS），模型将永远学不会停止。请在 tokenizer_config.json 中设置 `eos_token`。",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template:
        return None
    name, template = _fitting(set(tokenizer.get_vocab()))
    tokenizer.chat_template = ("{{ bos_token }}" if _adds_bos(tokenizer) else "") + template
    return name


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, ask: bool = False
) -> str:
    """Return the conversation as the model reads it; with `ask` it ends where an answer begins."""
    turns: Any = [{"role": message.role, "content": message.content} for message in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))


def end_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the ids that end an answer: the template's turn end first, then the tokenizer's own."""
    ends: dict[int, None] = {}
    if tokenizer.chat_template:
        turn: Any = [{"role": "user", "content": "q"}, {"role": "assistant", "content": _MARKER}]
        words = str(tokenizer.apply_chat_template(turn, tokenize=False))
        after = encode(tokenizer, words[words.rfind(_MARKER) + len(_MARKER) :])
        special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        ends |= dict.fromkeys([token for token in after if token in special][:1])
    own: Any = tokenizer.eos_token_id
    ends |= dict.fromkeys([int(own)])
    return tuple(ends)


def encode(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    """Return the ids of `words` and nothing else: the template has the special tokens already."""
    return list(tokenizer(words, add_special_tokens=False)["input_ids"])


def _fitting(vocabulary: set[str]) -> tuple[str, str]:
    if {"<｜User｜>", "<｜Assistant｜>"} <= vocabulary:
        return "deepseek", _DEEPSEEK
    if {"<|im_start|>", "<|im_end|>"} <= vocabulary:
        return "chatml", _CHATML
    return "plain", _PLAIN


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
