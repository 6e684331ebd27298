"""The offline search: fields, spelling, synonyms, pasted errors, abstention, speed."""

from __future__ import annotations

import pytest

from tutor_agent.library.cards import Card, load_cards
from tutor_agent.library.search import SURE, Index, is_sure, open_index


def make_card(card_id: str, title: str, body: str = "", alias: tuple[str, ...] = ()) -> Card:
    return Card.model_validate(
        {
            "id": card_id,
            "title": {"en": title, "zh": title},
            "topics": ["test"],
            "ask": {"en": [], "zh": []},
            "aliases": {"en": alias, "zh": []},
            "sources": ["test"],
            "checked": "2026-11-25",
            "body": {"en": body or "text", "zh": body or "正文"},
        }
    )


def first(question: str) -> str:
    return open_index().search(question)[0].card.id


def test_a_word_in_the_title_outweighs_the_same_word_in_a_body() -> None:
    index = Index(
        [
            make_card("body", "Something else", "the zebra runs"),
            make_card("title", "Zebra"),
        ]
    )
    assert [hit.card.id for hit in index.search("zebra")] == ["title", "body"]


def test_an_alias_finds_its_card() -> None:
    index = Index([make_card("a", "First"), make_card("b", "Second", alias=("quokka",))])
    assert index.search("a quokka?")[0].card.id == "b"


def test_a_body_alone_never_makes_an_answer_sure() -> None:
    index = Index([make_card("a", "First", "the zebra runs"), make_card("b", "Second")])
    hits = index.search("zebra")
    assert hits[0].card.id == "a"
    assert not is_sure(hits)


def test_an_empty_question_and_an_empty_index_find_nothing() -> None:
    assert open_index().search("") == []
    assert open_index().search("？！…") == []
    assert Index([]).search("learning rate") == []
    assert not is_sure([])


def test_limit_and_order_of_hits() -> None:
    hits = open_index().search("learning rate for LoRA", limit=5)
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.share <= 1 for hit in hits)
    assert [card.id for card in open_index().near("learning rate for LoRA", limit=5)] == [
        hit.card.id for hit in hits
    ]


@pytest.mark.parametrize(
    ("question", "card"),
    [
        ("lerning rate", "learning-rate"),
        ("what is perplexty", "perplexity"),
        ("overfiting", "overfitting"),
        ("how does distilation work", "distillation"),
        ("quantizaton", "quantisation"),
    ],
)
def test_misspelt_words_are_understood(question: str, card: str) -> None:
    assert first(question) == card


@pytest.mark.parametrize(
    ("question", "card"),
    [
        ("lr", "learning-rate"),
        ("爆显存", "out-of-memory"),
        ("oom", "out-of-memory"),
        ("ppl", "perplexity"),
        ("EWC", "ewc"),
        ("退火", "schedule"),
        ("warmup", "warmup"),
        ("ＬｏＲＡ　的　ｒａｎｋ", "lora-rank"),
    ],
)
def test_synonyms_and_abbreviations_are_understood(question: str, card: str) -> None:
    assert first(question) == card


@pytest.mark.parametrize(
    ("pasted", "card"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"
            " capacity of 23.69 GiB of which 1.12 GiB is free.",
            "out-of-memory",
        ),
        (
            "{'loss': '0', 'grad_norm': 'nan', 'learning_rate': '1.2e-05', 'epoch': '0.31'}",
            "loss-zero",
        ),
        ("{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1.2e-05, 'epoch': 0.31}", "loss-zero"),
        (
            "TypeError: TrainingArguments.__init__() got an unexpected keyword argument"
            " 'evaluation_strategy'",
            "renamed-arguments",
        ),
        ("RuntimeError: CUDA error: device-side assert triggered", "device-side-assert"),
        ("OSError: [Errno 28] No space left on device", "disk-space"),
        ("ValueError: Attempting to unscale FP16 gradients.", "nan-loss"),
        (
            "[rank1]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=12, OpType="
            "ALLREDUCE) ran for 1800002 milliseconds before timing out.",
            "hang",
        ),
        (
            "ValueError: lora.ParamWrapper does not work with lora_dropout != 0.",
            "deepseek-moe-lora",
        ),
    ],
)
def test_pasted_errors_find_their_card_and_are_sure(pasted: str, card: str) -> None:
    hits = open_index().search(pasted)
    assert card in [hit.card.id for hit in hits[:2]]
    assert is_sure(hits)


@pytest.mark.parametrize(
    "question",
    [
        "Will it rain in Berlin at the weekend?",
        "How long do I boil an egg?",
        "Which team won the league last season?",
        "Write me a poem about the sea",
        "Recommend a good film for tonight",
        "How do I renew my passport?",
        "What are the symptoms of the flu?",
        "Translate good morning into French",
        "Who was the first president of France?",
        "My car does not start in winter",
        "明天北京会下雨吗",
        "鸡蛋煮几分钟",
        "上赛季联赛冠军是谁",
        "给我写一首关于大海的诗",
        "今晚推荐一部好看的电影",
        "护照怎么续签",
        "感冒有哪些症状",
        "早上好用法语怎么说",
        "法国第一任总统是谁",
        "冬天车打不着火怎么办",
    ],
)
def test_questions_off_the_topic_are_not_answered(question: str) -> None:
    assert not is_sure(open_index().search(question))


def test_nine_of_ten_unseen_questions_off_the_topic_are_not_answered() -> None:
    """These were written after the search was finished; a miss is a measurement."""
    questions = [
        "Where can I buy fresh basil?",
        "How many people live in Norway?",
        "What should I wear to a wedding?",
        "Is the museum open on Monday?",
        "How do I remove a coffee stain from a shirt?",
        "Tell me about the history of Rome",
        "Which vaccine do I need for Kenya?",
        "Can dogs eat grapes?",
        "How do I learn to play the guitar?",
        "What is the exchange rate of the dollar?",
        "哪里能买到新鲜的罗勒",
        "挪威有多少人口",
        "参加婚礼穿什么衣服",
        "博物馆周一开门吗",
        "衬衫上的咖啡渍怎么洗掉",
        "讲讲罗马的历史",
        "去肯尼亚要打什么疫苗",
        "狗能吃葡萄吗",
        "怎么学弹吉他",
        "今天美元汇率是多少",
    ]
    answered = [question for question in questions if is_sure(open_index().search(question))]
    assert len(answered) <= len(questions) // 10, answered


def test_most_questions_of_the_field_are_answered() -> None:
    index = open_index()
    asked = [question for card in load_cards() for question in card.ask.every()]
    sure = sum(index.search(question)[0].share >= SURE for question in asked)
    assert sure >= 0.98 * len(asked)


def test_a_long_log_is_searched_without_trouble() -> None:
    line = "step 12 loss 1.2 grad_norm 0.7 tokens/s 4100 CUDA out of memory "
    assert open_index().search(line * 2000)
