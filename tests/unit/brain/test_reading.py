"""What a message wants and which slots it fills, in both languages, with typing errors."""

from __future__ import annotations

import pytest

from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.reading import Known, Reading, read_message

NEW = Known()
PLAN = Known(has_plan=True)
RUN = Known(has_plan=True, has_run=True)

INTENTS = [
    (NEW, "tune", "我有一个客服问答的 CSV，想微调一个小模型"),
    (NEW, "tune", "I have a CSV of support Q&A and want to fine-tune a small model"),
    (NEW, "tune", "帮我用 data/客服.csv 微调 deepseek 7b"),
    (NEW, "tune", "finetun a chatbot on faq.csv"),
    (NEW, "tune", "教模型用客服的语气说话"),
    (NEW, "tune", "我想训练一个法律助手"),
    (NEW, "tune", "teach a model to answer like our support team"),
    (NEW, "tune", "can you fine-tune a model for me?"),
    (NEW, "tell", "data/support.csv"),
    (NEW, "tell", "我的机器是8卡A100"),
    (NEW, "tell", "deepseek 7b"),
    (PLAN, "tell", "半个小时内跑完"),
    (PLAN, "tell", "模型换成 qwen2.5 0.5b"),
    (PLAN, "change", "学习率调到 1e-5"),
    (PLAN, "change", "lr 1e-5"),
    (PLAN, "change", "能不能把 rank 改成 8？"),
    (PLAN, "change", "can you set the learning rate to 1e-5?"),
    (PLAN, "change", "只训练 1 轮"),
    (PLAN, "change", "用全参"),
    (PLAN, "change", "别用 LoRA，用冻结"),
    (PLAN, "change", "leraning rate 1e-5"),
    (PLAN, "why", "为什么学习率是 2e-4"),
    (PLAN, "why", "学习率为什么这么大？"),
    (PLAN, "why", "为什么不用全参"),
    (PLAN, "why", "why rank 16"),
    (PLAN, "why", "why not full fine-tuning?"),
    (PLAN, "why", "why lora"),
    (PLAN, "start", "启动吧"),
    (PLAN, "start", "go"),
    (PLAN, "start", "好的开始"),
    (PLAN, "start", "start training"),
    (PLAN, "start", "ok go"),
    (PLAN, "start", "开始训练吧"),
    (PLAN, "confirm", "yes"),
    (PLAN, "confirm", "好的"),
    (PLAN, "decline", "算了"),
    (PLAN, "decline", "no"),
    (PLAN, "decline", "不要启动"),
    (PLAN, "decline", "don't start yet"),
    (PLAN, "ask", "训练 3 轮够吗？"),
    (PLAN, "ask", "warmup 是干什么的"),
    (PLAN, "ask", "does packing help?"),
    (RUN, "status", "跑到哪了"),
    (RUN, "status", "how is it going"),
    (RUN, "status", "现在 loss 多少"),
    (RUN, "status", "还要多久"),
    (RUN, "status", "训练完了吗"),
    (RUN, "status", "whats the staus"),
    (RUN, "stop", "停"),
    (RUN, "stop", "停止训练"),
    (RUN, "stop", "stop it"),
    (RUN, "stop", "stop the run"),
    (RUN, "resume", "继续训练"),
    (RUN, "resume", "resume"),
    (RUN, "resume", "继续"),
    (RUN, "fix", "修一下"),
    (RUN, "fix", "fix it"),
    (RUN, "fix", "应用"),
    (RUN, "fix", "can you fix it?"),
    (RUN, "result", "效果怎么样"),
    (RUN, "result", "is it better?"),
    (RUN, "result", "did it improve"),
    (RUN, "list_runs", "列出所有运行"),
    (RUN, "list_runs", "list runs"),
    (RUN, "compare_runs", "比较 a-1 和 a-2"),
    (RUN, "compare_runs", "compare demo-1 and demo-2"),
    (RUN, "trouble", "为什么 loss 一直不降"),
    (RUN, "trouble", "why is the loss nan"),
    (RUN, "trouble", "过拟合了怎么办"),
    (NEW, "trouble", "my loss is not decreasing"),
    (NEW, "trouble", "训练报错了"),
    (NEW, "paste", "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"),
    (NEW, "paste", "{'loss': 0.0, 'grad_norm': nan}"),
    (NEW, "paste", "loss 0 grad_norm nan 是什么意思"),
    (NEW, "read_log", "看看这个日志 train.log"),
    (NEW, "see_machine", "看看我的显卡"),
    (NEW, "see_machine", "what gpu do i have"),
    (NEW, "see_model", "deepseek 7b 有多少层"),
    (NEW, "see_data", "检查一下 data.csv"),
    (NEW, "estimate", "7B 全参要多少显存"),
    (NEW, "estimate", "how much memory does deepseek 7b lora need?"),
    (NEW, "estimate", "2x3090 能微调 7B 吗"),
    (NEW, "estimate", "Can I fine-tune a 7B on a 3090?"),
    (NEW, "help", "你能做什么"),
    (NEW, "help", "what can you do"),
    (NEW, "help", "怎么开始"),
    (NEW, "greet", "你好"),
    (NEW, "greet", "hi"),
    (NEW, "thank", "谢谢"),
    (NEW, "thank", "thanks a lot!"),
    (NEW, "more", "详细说说"),
    (NEW, "more", "tell me more"),
    (NEW, "ask", "LoRA 和全参有什么区别"),
    (NEW, "ask", "什么是过拟合"),
    (NEW, "ask", "what is overfitting?"),
    (NEW, "ask", "学习率应该设多少"),
    (NEW, "ask", "what learning rate should I use?"),
    (NEW, "ask", "QLoRA 是什么"),
    (NEW, "ask", "什么时候用 LoRA"),
]


@pytest.mark.parametrize(("known", "intent", "words"), INTENTS)
def test_intents(known: Known, intent: str, words: str) -> None:
    assert read_message(words, known).intent == intent


SLOTS = [
    (
        "帮我用 data/客服.csv 微调 deepseek 7b",
        {"data": "data/客服.csv", "model": "deepseek-ai/deepseek-llm-7b-chat"},
    ),
    ("用2x3090微调 qwen2.5 0.5b, 数据在 @faq.jsonl", {"machine": "2x3090", "data": "faq.jsonl"}),
    ("我有 '/data/my file.csv'", {"data": "/data/my file.csv"}),
    ("数据在/home/me/faq.csv里", {"data": "/home/me/faq.csv"}),
    ("用客服.csv训练", {"data": "客服.csv"}),
    ("用 “客服 问答.csv” 来微调", {"data": "客服 问答.csv"}),
    ("8卡A100 80G", {"machine": "8xA100-80G"}),
    ("单卡4090", {"machine": "1x4090"}),
    ("两张 3090", {"machine": "2x3090"}),
    ("H800 八卡", {"machine": "8xH800"}),
    ("a single T4", {"machine": "1xT4"}),
    ("4xA100-80G", {"machine": "4xA100-80G"}),
    ("微调通义千问 7B 对话版", {"model": "Qwen/Qwen2.5-7B-Instruct"}),
    ("DeepSeek-R1-Distill-Qwen-1.5B", {"model": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"}),
    ("半小时内跑完", {"hours": 0.5}),
    ("finish within 30 minutes", {"hours": 0.5}),
    ("两个小时以内", {"hours": 2.0}),
    ("越快越好", {"wish": "speed"}),
    ("效果最好的", {"wish": "quality"}),
    ("as cheap as possible", {"wish": "cost"}),
    ("做一个情感分析", {"task": "classification"}),
    ("summarize news articles", {"task": "summarization"}),
    ("别用 LoRA，用冻结", {"skill": "layer-freezing"}),
    ("不要 LoRA", {"skill": None}),
    ("为什么不用全参", {"skill": "full-fine-tuning"}),
    ("医疗领域的问答", {"domain": "医疗", "task": "qa"}),
]


@pytest.mark.parametrize(("words", "slots"), SLOTS)
def test_slots(words: str, slots: dict[str, object]) -> None:
    reading = read_message(words, NEW)
    assert {name: getattr(reading, name) for name in slots} == slots


def test_a_small_model_is_one_that_needs_no_hub() -> None:
    from tutor_agent.library.models import find_model

    named = read_message("想微调一个小模型", NEW).model
    model = find_model(named or "")
    assert model is not None
    assert model.wheel is not None


def test_a_family_without_a_size_stays_open() -> None:
    reading = read_message("我想微调 deepseek", NEW)
    assert reading.model is None
    assert reading.unclear == "deepseek"


def test_a_known_file_is_recognised_by_its_bare_name() -> None:
    reading = read_message("用 support 这个", Known(files=("data/support.csv", "other.csv")))
    assert reading.data == "data/support.csv"


def test_numbers_in_file_names_change_nothing() -> None:
    assert read_message("用 data/3 epochs.csv", NEW).changes == ()
    assert read_message("@run-20steps.jsonl", NEW).changes == ()


def test_a_log_is_split_from_the_question_about_it() -> None:
    words = (
        "训练到一半就这样了，怎么回事？\n"
        "Traceback (most recent call last):\n"
        '  File "train.py", line 12, in <module>\n'
        "    trainer.train()\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    )
    reading = read_message(words, NEW)
    assert reading.intent == "paste"
    assert reading.said == "训练到一半就这样了，怎么回事？"
    assert reading.pasted.startswith("Traceback")
    assert "trainer.train()" in reading.pasted
    assert reading.language == "zh"


def test_a_pasted_chinese_log_does_not_hide_an_english_question() -> None:
    reading: Reading = read_message("why does this happen?\nValueError: 列 'text' 不存在\n", NEW)
    assert reading.language == "en"


def test_a_choice_counts_only_when_it_was_offered() -> None:
    assert read_message("2", Known(choices=3)).intent == "pick"
    assert read_message("第二个", Known(choices=3)).pick == 2
    assert read_message("5", Known(choices=3)).intent != "pick"


def test_a_goal_in_a_sentence_gives_its_wishes_and_fields() -> None:
    from tutor_agent.brain.builtin.goal import understand_goal

    goal, change = understand_goal(
        "微调一个客服模型，别用 LoRA，用冻结，学习率 1e-5，半小时内跑完", "en"
    )
    assert (goal.task, goal.skill, goal.language) == ("chat", "layer-freezing", "zh")
    assert goal.max_hours == 0.5
    assert change.paths == ("skill", "optim.learning_rate")
    assert understand_goal("  ", "zh")[1].entries == ()


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("chat-tuning-2 出了什么问题？", ("chat-tuning-2",)),
        ("出了什么问题？", ()),
        ("为什么停了", ()),
        ("demo-lr-1 怎么了", ("demo-lr-1",)),
        ("why did it halt?", ()),
        ("what happened to faq-3?", ("faq-3",)),
    ],
)
def test_what_is_the_matter_with_a_run(words: str, runs: tuple[str, ...]) -> None:
    reading = read_message(words, Known(has_run=True, has_plan=True))
    assert (reading.intent, reading.runs) == (Intent.trouble, runs)
    if runs:
        assert read_message(words, Known()).intent is Intent.trouble, "in a new conversation too"
