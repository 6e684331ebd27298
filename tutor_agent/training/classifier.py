"""A classification head: one score a class, read off at the last token of a text."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from tutor_agent.data.labels import IGNORED
from tutor_agent.training.scoring import ClassFigures, figures_by_class, macro

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PretrainedConfig

    from tutor_agent.data.classes import ClassEncoder, Head
    from tutor_agent.data.collate import Batch
    from tutor_agent.data.load import SourceRow
    from tutor_agent.training.losses import TokenLosses

_READ = ("input_ids", "attention_mask")


def is_classifier(model: Any) -> bool:
    """Return whether `model`, without wrappers, gives scores of classes."""
    return type(model).__name__.endswith("ForSequenceClassification")


def settle_config(config: PretrainedConfig, head: Head) -> None:
    """Write the classes and the padding token into a model's configuration."""
    config.id2label = dict(enumerate(head.classes))
    config.label2id = {name: i for i, name in enumerate(head.classes)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = head.pad
    config.get_text_config().pad_token_id = head.pad


def train_scores(model: Any) -> None:
    """Let the new layer of scores move, in fp32: it begins at random whatever else is frozen."""
    for parameter in model.score.parameters():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def class_scores(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (B rows, 1, C classes) and the true class of each row (B, 1), -100 for a filler."""
    inputs = {key: batch[key] for key in _READ if key in batch}
    scores_bc = model(**inputs, use_cache=False).logits
    targets_b = batch["labels"].amax(dim=1)
    return scores_bc[:, None], targets_b[:, None]


def save_classes(model: Any, folder: Path) -> None:
    """Put the configuration with the names of the classes beside an adapter, which has none by itself."""
    if is_classifier(model) and not (folder / "config.json").exists():
        model.config.save_pretrained(folder)


class ClassTally:
    """Counts of true and chosen classes over batches; they add up over processes."""

    def __init__(self, classes: Sequence[str], device: torch.device) -> None:
        self._classes = list(classes)
        size = len(self._classes)
        self._counts = torch.zeros(size, size, dtype=torch.float64, device=device)
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, found: TokenLosses) -> None:
        """Add one batch."""
        targets_b = found.targets_bk[:, 0]
        real = targets_b != IGNORED
        chosen_b = found.logits_bkv[:, 0].argmax(dim=-1)
        places = targets_b[real] * len(self._classes) + chosen_b[real]
        ones = torch.ones_like(places, dtype=torch.float64)
        self._counts.view(-1).index_add_(0, places, ones)
        self._sums += torch.stack([found.total.double(), real.sum().double()])

    def share(self) -> None:
        """Add up over all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._counts)
            torch.distributed.all_reduce(self._sums)

    def figures(self) -> dict[str, float]:
        """Return the loss a row, accuracy, and the means of the others over the classes that occur."""
        total, rows = (float(value) for value in self._sums)
        if not rows:
            return {"loss": float("nan")}
        right = float(self._counts.diagonal().sum()) / rows
        named = macro(list(self.by_class().values()))
        return {"loss": total / rows, "accuracy": right, "exact_match": right, **named}

    def by_class(self) -> dict[str, ClassFigures]:
        """Return the figures of each class by name."""
        true, said = self._counts.nonzero(as_tuple=True)
        counts: list[float] = self._counts[true, said].tolist()
        if not counts:
            return {}
        return figures_by_class(true.tolist(), said.tolist(), self._classes, counts)


def choose_rows(
    model: Any,
    encoder: ClassEncoder,
    rows: Sequence[SourceRow],
    *,
    half: torch.dtype | None = None,
) -> list[str]:
    """Return the class that `model` gives to each of a few rows."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    precision = torch.autocast(device.type, dtype=half) if half else nullcontext()
    chosen: list[str] = []
    with torch.no_grad(), precision:
        for row in rows:
            (example,) = encoder.encode_row(row)
            ids_bt = torch.tensor([list(example.ids)], device=device)
            scores = model(input_ids=ids_bt, use_cache=False).logits
            chosen.append(encoder.classes[int(scores[0].argmax())])
    model.train(was_training)
    return chosen
