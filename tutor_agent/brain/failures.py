"""What to tell a person when the language model fails, by the name of the error's class."""

from __future__ import annotations

from typing import cast

from tutor_agent.core.redact import redact
from tutor_agent.core.text import Text

_ADVICE: dict[str, Text] = {
    "ModelAuthenticationError": Text(
        en="The language model refused the key. Check the variable that holds it, or make a new key.",
        zh="语言模型拒绝了密钥。请检查存放密钥的环境变量，或重新生成密钥。",
    ),
    "ModelQuotaExceededError": Text(
        en="The account of the language model has no credit left. Top it up, or use another provider.",
        zh="语言模型账户余额不足。请充值，或换一个服务。",
    ),
    "ModelRateLimitError": Text(
        en="The language model limits how often it may be asked. Wait a moment and ask again.",
        zh="语言模型限制了请求频率，请稍等再问。",
    ),
    "ModelNotFoundError": Text(
        en="The server does not know this model. Check `model` under [llm] in config.toml.",
        zh="服务器上没有这个模型。请检查 config.toml 中 [llm] 的 model。",
    ),
    "ModelContextWindowExceededError": Text(
        en="The conversation is too long for the language model. Begin a new session, or lower `turns` under [llm].",
        zh="对话超出了语言模型的上下文长度。请新建会话，或调小 [llm] 的 turns。",
    ),
    "ModelConnectionError": Text(
        en="The language model cannot be reached. Check the network and `base_url` under [llm].",
        zh="连接不上语言模型。请检查网络和 [llm] 的 base_url。",
    ),
    "ModelRequestTimeout": Text(
        en="The language model took too long. Ask again, or raise `timeout` under [llm].",
        zh="语言模型响应超时。请重试，或调大 [llm] 的 timeout。",
    ),
    "ModelServerError": Text(
        en="The language model's server has an internal error. Ask again later.",
        zh="语言模型服务器内部出错，请稍后再试。",
    ),
    "ModelUnavailableError": Text(
        en="The language model's server is overloaded or down. Ask again later.",
        zh="语言模型服务器繁忙或不可用，请稍后再试。",
    ),
    "ModelRequestRejectedError": Text(
        en="The language model rejected the request; some models cannot use tools. Take one that can.",
        zh="语言模型拒绝了请求；有些模型不支持工具调用，请换一个支持的。",
    ),
    "OutputTokenLimitExceeded": Text(
        en="The language model's answer was cut off by its length limit. Ask for less at once.",
        zh="语言模型的回答因长度限制被截断，请把问题拆小一些。",
    ),
    "ContentFilterError": Text(
        en="The language model's content filter withheld the answer. Ask in other words.",
        zh="语言模型的内容过滤拦下了回答，请换个说法。",
    ),
    "UnexpectedModelBehavior": Text(
        en="The language model gave no usable answer. On a vLLM server, set --reasoning-parser for reasoning models.",
        zh="语言模型没有给出可用的回答。若使用 vLLM，请为推理模型设置 --reasoning-parser。",
    ),
    "UsageLimitExceeded": Text(
        en="This turn needed too many requests and was ended. Ask for one thing at a time.",
        zh="这一轮请求次数过多，已停止。请一次只问一件事。",
    ),
    "ModelAPIError": Text(
        en="The language model answered with an error.", zh="语言模型返回了错误。"
    ),
    "AgentRunError": Text(en="The language model failed.", zh="语言模型出错了。"),
}
_STANDS_IN = Text(en="The built-in brain answers instead.", zh="改由内置大脑回答。")
_SHOWN = 160


def advise(error: BaseException, *, stands_in: bool) -> Text:
    """Explain an error of the language model by its class, and say who answers instead."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    names = [kind.__name__ for kind in type(error).__mro__]
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), _ADVICE["AgentRunError"])
    words = redact(" ".join(str(error).split()))[:_SHOWN]
    tail = _STANDS_IN if stands_in else Text.same("")
    return Text(
        en=f"{advice.en} {tail.en} ({words})".replace("  ", " "),
        zh=f"{advice.zh}{tail.zh}（{words}）",
    )
