"""Written answers against the data's, by the reference implementation of each metric.

BLEU and chrF are sacrebleu's, ROUGE is rouge-score's, the figures of classes are scikit-learn's. Question
answering counts as the script of SQuAD does. Chinese is cut into characters wherever words are compared.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.core.plan import Task

# Ideographs with their extensions, kana and hangul: scripts in which a space does not part words, or not all.
_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_PIECE = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_ROUGE = ("rouge1", "rouge2", "rougeL")


class ClassFigures(NamedTuple):
    """How well one class is told from the others."""

    precision: float
    recall: float
    f1: float
    rows: int


def score(
    answers: Sequence[str],
    references: Sequence[str],
    task: Task,
    names: Sequence[str],
    accepted: Sequence[Sequence[str]] = (),
) -> dict[str, float]:
    """Return those of the metrics `names` that compare answers with references; nothing without rows.

    Args:
        answers: What the model wrote, which may be empty.
        references: What the data says, in the same order.
        task: For classes an answer is a label; otherwise precision, recall and F1 are of words.
        names: Metric names; those of other kinds are left out.
        accepted: Further right answers by row: of shared words the best fit counts, as in SQuAD.
    """
    if not references:
        return {}
    found: dict[str, float] = {}
    for measure in (_bleu, _chrf, _rouge):
        found |= measure(answers, references, names)
    if {"accuracy", "exact_match", "precision", "recall", "f1"} & set(names):
        if task == "classification":
            found |= _labels(answers, references)
        else:
            more = accepted or [()] * len(references)
            rights = [(right, *others) for right, others in zip(references, more, strict=True)]
            found |= _overlap(answers, rights)
    return {name: found[name] for name in names if name in found}


def class_figures(answers: Sequence[str], references: Sequence[str]) -> dict[str, ClassFigures]:
    """Return precision, recall and F1 of every class in `references`, by its name.

    An answer that is no class at all counts against the class of its row and for none.
    """
    said, true, classes = _as_classes(answers, references)
    return figures_by_class(true, said, classes, None)


def figures_by_class(
    true: Sequence[int], said: Sequence[int], classes: Sequence[str], counts: Sequence[float] | None
) -> dict[str, ClassFigures]:
    """Return precision, recall and F1 of every class by scikit-learn; `counts` repeats the pairs."""
    from sklearn.metrics import precision_recall_fscore_support  # noqa: PLC0415

    report: Any = precision_recall_fscore_support
    columns = report(
        true,
        said,
        labels=list(range(len(classes))),
        sample_weight=counts,
        zero_division=0,
    )
    rows = zip(*columns, strict=True)
    return {
        name: ClassFigures(float(p), float(r), float(f), round(float(n)))
        for name, (p, r, f, n) in zip(classes, rows, strict=True)
    }


def macro(figures: Sequence[ClassFigures]) -> dict[str, float]:
    """Return the means over the classes that occur."""
    there = [one for one in figures if one.rows]
    count = max(len(there), 1)
    return {
        name: sum(getattr(one, name) for one in there) / count
        for name in ("precision", "recall", "f1")
    }


def words(text: str) -> list[str]:
    """Return the words of a text for ROUGE: Chinese by characters, others as rouge-score cuts English."""
    return _WORD.findall(text.lower())


def normalised(text: str) -> list[str]:
    """Return what counts of an answer to a question: no case, punctuation or English article."""
    kept = "".join(c for c in text.lower() if not _is_punctuation(c))
    # The letter A may be an option, and then is all of the answer.
    return _PIECE.findall(_ARTICLE.sub(" ", kept)) or _PIECE.findall(kept)


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _bleu(
    answers: Sequence[str], references: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    if "bleu" not in names:
        return {}
    from sacrebleu import corpus_bleu  # noqa: PLC0415

    # The Chinese tokenizer treats the Latin words of a mixed text as 13a does.
    chinese = any(map(_HAN.search, references))
    result = corpus_bleu(list(answers), [list(references)], tokenize="zh" if chinese else "13a")
    return {"bleu": float(result.score)}


def _chrf(
    answers: Sequence[str], references: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    if "chrf" not in names:
        return {}
    from sacrebleu import corpus_chrf  # noqa: PLC0415

    return {"chrf": float(corpus_chrf(list(answers), [list(references)]).score)}


class _Words:
    """The tokenizer that rouge-score is given."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of `text`."""
        return words(text)


def _rouge(
    answers: Sequence[str], references: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    wanted = [name for name in _ROUGE if name in names]
    if not wanted:
        return {}
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415

    scorer = RougeScorer(wanted, tokenizer=_Words())
    found = [scorer.score(right, said) for said, right in zip(answers, references, strict=True)]
    return {name: sum(one[name].fmeasure for one in found) / len(found) for name in wanted}


def _labels(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    said, true, classes = _as_classes(answers, references)
    right = sum(a == b for a, b in zip(said, true, strict=True)) / len(true)
    figures = figures_by_class(true, said, classes, None)
    return {"accuracy": right, "exact_match": right, **macro(list(figures.values()))}


def _as_classes(
    answers: Sequence[str], references: Sequence[str]
) -> tuple[list[int], list[int], list[str]]:
    """Return answers and references as numbers of classes; an answer that is none has the next number."""
    names = {_plain(reference): reference.strip() for reference in references}
    number = {plain: i for i, plain in enumerate(sorted(names))}
    said = [number.get(_plain(answer), len(number)) for answer in answers]
    return said, [number[_plain(right)] for right in references], [names[k] for k in number]


def _plain(label: str) -> str:
    return " ".join(label.casefold().split()).strip(".。!！ ")


def _overlap(answers: Sequence[str], rights: Sequence[Sequence[str]]) -> dict[str, float]:
    best: list[tuple[float, ...]] = []
    for answer, accepted in zip(answers, rights, strict=True):
        said = normalised(answer)
        fits = [
            (said == normalised(right), *_shared(said, normalised(right))) for right in accepted
        ]
        exact = any(fit[0] for fit in fits)
        best.append((float(exact), *max(fits, key=lambda fit: fit[3])[1:]))
    exact, precision, recall, f1 = (sum(column) / len(best) for column in zip(*best, strict=True))
    return {
        "accuracy": exact,
        "exact_match": exact,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _shared(said: list[str], right: list[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the words of one answer; an empty one equals an empty one."""
    if not said or not right:
        same = float(said == right)
        return same, same, same
    common = sum((Counter(said) & Counter(right)).values())
    precision, recall = common / len(said), common / len(right)
    return precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0
