"""How the run is judged: by what, how often, on how many rows, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.heads import usual_head
from tutor_agent.advise.situation import Field, Fields, Situation, because
from tutor_agent.core.metric_names import METRICS, TASK_METRICS

if TYPE_CHECKING:
    from tutor_agent.core.plan import Task

_METRIC_REASONS: dict[Task, tuple[str, str]] = {
    "chat": (
        "Many answers are right in a conversation, so perplexity comes first; BLEU, chrF and ROUGE-L tell whether the "
        "wording comes nearer to the data's.",
        "对话可以有多种正确回答，因此先看困惑度；BLEU、chrF 和 ROUGE-L 反映措辞是否更接近数据。",
    ),
    "completion": (
        "Perplexity is the guide's measure of a language model; BLEU, the guide's measure of generated text, chrF and "
        "ROUGE-L compare what is written with what should have been.",
        "困惑度是指南衡量语言模型的指标；BLEU（指南用于生成文本）、chrF 和 ROUGE-L 把写出的文字与应有的文字比较。",
    ),
    "pretraining": (
        "Perplexity on held-out text is what continued pre-training is about; there is no right answer to compare with.",
        "继续预训练看的就是留出文本上的困惑度；没有标准答案可比。",
    ),
    "classification": (
        "Accuracy is the share of right labels; F1, as a mean over the classes, shows when a rare class is never found.",
        "准确率是标签答对的比例；F1 按类别取平均，能看出稀少类别是否一个也没找到。",
    ),
    "qa": (
        "Exact match is the guide's accuracy for question answering; F1 of the words, as SQuAD counts it, gives credit for "
        "an answer that is nearly right.",
        "完全匹配即指南所说的问答准确率；按 SQuAD 计算的词级 F1 让接近正确的回答也能得分。",
    ),
    "summarization": (
        "ROUGE, as the guide names it: ROUGE-L follows the order of words, ROUGE-1 and 2 count shared words and pairs; "
        "Chinese is counted by characters.",
        "用指南所说的 ROUGE：ROUGE-L 看词序，ROUGE-1、ROUGE-2 数相同的词和词对；中文按字计算。",
    ),
}
_METRIC_SOURCES: dict[Task, str] = {
    "chat": "sacrebleu; rouge-score",
    "completion": "sacrebleu; rouge-score",
    "pretraining": "transformers documentation: perplexity",
    "classification": "scikit-learn, means over the classes",
    "qa": "SQuAD (arXiv:1606.05250)",
    "summarization": "rouge-score",
}
_METRIC_CARDS: dict[Task, str] = {
    "chat": "perplexity",
    "completion": "bleu",
    "pretraining": "perplexity",
    "classification": "accuracy-f1",
    "qa": "accuracy-f1",
    "summarization": "rouge",
}
_LONGEST_ANSWER: dict[Task, int] = {"classification": 16, "qa": 48, "summarization": 128}
_USUAL_ANSWER = 128
_WRITTEN_ON_CPU, _WRITTEN_ON_GPU = 16, 64


def evaluation_fields(situation: Situation, steps: int) -> Fields:
    """Return every field of `evaluation`."""
    rows = 50 if situation.cpu else 200
    if situation.task in {"classification", "qa"}:
        rows *= 2
    return {
        "evaluation.every": _every(situation, steps),
        "evaluation.metrics": _metrics(situation),
        **_keeping_fields(),
        "evaluation.max_rows": _max_rows(situation, rows),
        **_writing_fields(situation),
    }


def writes_answers(situation: Situation) -> bool:
    """Return whether a metric of the task reads answers in full."""
    needed = any(METRICS[name].answers for name in TASK_METRICS[situation.task])
    return needed and usual_head(situation) == "language_model"


def _every(situation: Situation, steps: int) -> Field:
    every = 0.1 if steps >= 100 and not situation.cpu else 0.2
    return Field(
        every,
        because(
            f"{round(1 / every)} times in the run, and each time a checkpoint: enough to see the turn, cheap enough. The "
            f"guide's every 500 steps would {'never come' if steps < 500 else 'come rarely'} in about {steps} steps.",
            f"整个训练评估 {round(1 / every)} 次并各存一个检查点：既能看到拐点，又不太费时。指南的每 500 步一次，在约 {steps} 步里"
            f"{'一次也轮不到' if steps < 500 else '次数太少'}。",
            source=f"{src.ESFT}: every 100 of 500 steps; {src.GUIDE}: every 500 steps",
            card="learning-curve",
            other=("0.05 for a finer curve on long runs.", "长时间训练可用 0.05，曲线更细。"),
        ),
    )


def _metrics(situation: Situation) -> Field:
    known = list(METRICS)
    return Field(
        list(TASK_METRICS[situation.task]),
        because(
            *_METRIC_REASONS[situation.task],
            source=f"{src.GUIDE}: perplexity, BLEU, ROUGE, accuracy and F1 by task; {_METRIC_SOURCES[situation.task]}",
            card=_METRIC_CARDS[situation.task],
            other=(f"Known names: {', '.join(known)}.", f"可用：{'、'.join(known)}。"),
            assumed=situation.assumes("task"),
        ),
    )


def _writing_fields(situation: Situation) -> Fields:
    """Return how many answers are written in full, and how long they may be."""
    needed = writes_answers(situation)
    rows = (_WRITTEN_ON_CPU if situation.cpu else _WRITTEN_ON_GPU) if needed else 0
    length = _LONGEST_ANSWER.get(situation.task, _USUAL_ANSWER)
    if needed:
        place = ("a CPU", "CPU") if situation.cpu else ("a GPU", "GPU")
        reason = (
            f"The metrics read answers in full. {rows} rows, before and after, keep that short on {place[0]}: writing goes one "
            "token at a time, about a tenth as fast as reading.",
            f"这些指标要看完整回答。训练前后各写 {rows} 行，在 {place[1]} 上不会太久：生成是逐词元进行的，速度约为阅读的十分之一。",
        )
    else:
        reason = (
            "No metric of this plan reads written answers, so none are written for it.",
            "本计划的指标都不需要生成回答，因此不生成。",
        )
    return {
        "evaluation.generated_rows": Field(
            rows,
            because(
                *reason,
                source=f"{src.FORECAST}; measured on SmolLM2-135M, one CPU thread: 16 tokens/s written, 290 read",
                card="generation-evaluation",
                other=(
                    "200 and more before a difference of a few points is believed; 0 to save the time.",
                    "差距只有几个百分点时，至少要 200 行才可信；想省时设为 0。",
                ),
            ),
        ),
        "evaluation.max_new_tokens": Field(
            length,
            because(
                f"{length} tokens hold the answer that the task calls for; a longer one is cut, and counts as it stands.",
                f"{length} 个词元足够写出该任务的回答；更长的会被截断，按截断后的内容计分。",
                source=src.FORECAST,
                card="generation-evaluation",
                other=(
                    "More when the data's answers are longer: cut answers score too low.",
                    "若数据中的答案更长，请调大：被截断的回答得分偏低。",
                ),
            ),
        ),
    }


def _keeping_fields() -> Fields:
    """Return when it stops early, which checkpoint is kept, and what is shown."""
    return {
        "evaluation.early_stopping": Field(
            3,
            because(
                "Three evaluations without improvement end the run: the later steps would only learn rows by heart.",
                "连续 3 次评估没有改善就停止：再训练只是在背数据。",
                source=f"consensus of recipes; {src.GUIDE}: early stopping against over-fitting",
                card="early-stopping",
                other=(
                    "null to run to the end whatever happens.",
                    "设为 null 则无论如何都跑到底。",
                ),
            ),
        ),
        "evaluation.keep": Field(
            "best",
            because(
                "The checkpoint with the lowest validation loss becomes the result, as in the guide.",
                "验证损失最低的检查点作为结果，与指南一致。",
                source=f"{src.GUIDE}: load_best_model_at_end",
                card="early-stopping",
                other=("'last' when the schedule must run out.", "需要走完学习率计划时用 'last'。"),
            ),
        ),
        "evaluation.samples": Field(
            2,
            because(
                "Two answers before and two after, side by side: figures alone do not show style.",
                "训练前后各生成两条回答并排对比：只看数字看不出风格。",
                source=src.CPU_MEASURED,
                card="before-after",
                other=("5 when there is time; 0 to save it.", "时间充裕可设 5，想省时设 0。"),
            ),
        ),
    }


def _max_rows(situation: Situation, rows: int) -> Field:
    where = (
        ("on a CPU evaluation would else take as long as training", "CPU 上评估否则会和训练一样久")
        if situation.cpu
        else ("they take a small share of the time", "只占很少时间")
    )
    return Field(
        rows,
        because(
            f"{rows} rows give a figure that is steady enough, and {where[0]}.",
            f"{rows} 行得到的数字已足够稳定，而且{where[1]}。",
            source=src.FORECAST,
            card="learning-curve",
            other=("More when two runs differ by little.", "两次结果相差很小时可增大。"),
        ),
    )
