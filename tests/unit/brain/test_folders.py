"""A local folder can be named as the model, beside a data file."""

from __future__ import annotations

import pytest

from tutor_agent.brain.builtin.reading import Known, read_message


@pytest.mark.parametrize(
    ("words", "model", "data"),
    [
        ("用 @pairs.jsonl 微调 ./tiny", "./tiny", "pairs.jsonl"),
        ("模型用 ./tiny", "./tiny", None),
        ("use the model in ./models/tiny-llama with data.csv", "./models/tiny-llama", "data.csv"),
        (
            "fine-tune ../weights/v2 on ./my data/rows one.csv",
            "../weights/v2",
            "./my data/rows one.csv",
        ),
        ("我想微调 /data/models/deepseek-7b 这个模型", "/data/models/deepseek-7b", None),
    ],
)
def test_folder_as_model(words: str, model: str, data: str | None) -> None:
    reading = read_message(words, Known())
    assert reading.model == model
    assert reading.data == data


def test_folder_of_a_log_is_no_model() -> None:
    assert read_message("what is wrong in ./output/run-3", Known()).model is None
