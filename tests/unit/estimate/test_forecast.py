from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.estimate.known import (
    FOUR_A100,
    LAPTOP,
    QWEN_7B,
    RTX_3090,
    SMOLLM2,
    T4,
    TWO_CORES,
    questions,
    texts,
)
from tutor_agent.core.facts import DataFacts, Lengths, Machine, ModelFacts
from tutor_agent.core.plan import Plan
from tutor_agent.estimate.footprint import (
    Footprint,
    freezing_footprint,
    full_footprint,
    lora_footprint,
)
from tutor_agent.estimate.forecast import compute_dtype, forecast, setting_of, work_of
from tutor_agent.estimate.lengths import LengthCurve

if TYPE_CHECKING:
    from tutor_agent.core.forecast import Forecast

FP32: dict[str, Any] = {"model": {"dtype": "fp32"}}


def plan(**parts: dict[str, Any]) -> Plan:
    base: dict[str, Any] = {
        "name": "test",
        "skill": "lora",
        "task": "qa",
        "model": {"source": "m", "dtype": "bf16"},
        "data": {"train": "d.csv", "max_length": 512},
        "optim": {"learning_rate": 2e-4, "micro_batch": 4, "epochs": 2},
    }
    for name, values in parts.items():
        base[name] = {**base.get(name, {}), **values}
    return Plan.parse(base, "test")


def price(
    model: ModelFacts = QWEN_7B,
    machine: Machine = RTX_3090,
    footprint: Footprint | None = None,
    rows: DataFacts | None = None,
    /,
    **parts: dict[str, Any],
) -> Forecast:
    footprint = footprint or lora_footprint(model, 16)
    return forecast(plan(**parts), model, machine, footprint, rows)


def test_it_fits_only_when_the_high_figure_fits() -> None:
    for length in (128, 256, 512, 768, 1024, 1536, 2048, 4096):
        found = price(data={"max_length": length})  # no facts of data: samples of max_length
        usable = 24 - found.parts["context"]
        assert found.peak_gib.high == pytest.approx(1.2 * found.peak_gib.expected + 0.5, abs=0.01)
        if found.fits == "yes":
            assert found.peak_gib.high <= usable
        elif found.fits == "tight":
            assert found.peak_gib.expected <= usable < found.peak_gib.high
        else:
            assert found.fits == "no"
            assert found.peak_gib.expected > usable


def test_memory_that_others_use_does_not_count() -> None:
    busy = RTX_3090.accelerators[0].model_copy(update={"free_gib": 0.0})
    machine = RTX_3090.model_copy(update={"accelerators": (busy,)})
    assert price(SMOLLM2, machine).fits == "no"
    assert price(SMOLLM2, RTX_3090).fits == "yes"


def test_an_unknown_machine_is_unknown() -> None:
    found = price(SMOLLM2, Machine(cores=4), **FP32)
    assert found.fits == "unknown"
    assert found.capacity_gib is None


# Peak resident memory in GB of real runs on a CPU: batch 4, fp32, samples of about 512 tokens.
@pytest.mark.parametrize(
    ("method", "longest", "measured"),
    [("full", 512, 7.0), ("lora", 430, 6.1), ("freezing", 430, 2.9)],
)
def test_cpu_memory_is_anchored_to_measurements(method: str, longest: int, measured: float) -> None:
    footprint = {
        "full": full_footprint(SMOLLM2),
        "lora": lora_footprint(SMOLLM2, 8),
        "freezing": freezing_footprint(SMOLLM2, 10),
    }[method]
    found = price(SMOLLM2, TWO_CORES, footprint, **FP32, data={"max_length": longest})
    assert found.peak_gib.expected == pytest.approx(measured * 1e9 / 2**30, rel=0.25)
    assert found.peak_gib.high > measured * 1e9 / 2**30
    assert any("coarse" in note.en for note in found.notes)


def test_steps_follow_rows_batch_and_epochs() -> None:
    data = questions(1000)
    assert work_of(plan(optim={"accumulate": 2}), data).steps == 2 * 100
    assert work_of(plan(optim={"max_steps": 30}), data).steps == 30
    assert work_of(plan(data={"limit": 100}), data).rows == 80
    assert work_of(plan(data={"validation": "v.csv", "test": "t.csv"}), data).rows == 1000
    four = plan(launch={"processes": 4})
    assert work_of(four, data).steps == 2 * 50


def test_long_texts_become_pieces_not_cuts() -> None:
    data = texts(1000, p50=2000, p95=4000, longest=8000)
    found = work_of(plan(data={"packing": True}), data)
    assert found.tokens == pytest.approx(2 * 800 * data.lengths.total / 1000, rel=0.05)
    apart = work_of(plan(), data)
    assert apart.tokens == pytest.approx(found.tokens, rel=0.01)
    assert apart.steps > 2 * 200


def test_packing_makes_fewer_longer_sequences() -> None:
    data = texts(1000, p50=100, p95=200, longest=300)
    apart, joined = work_of(plan(), data), work_of(plan(data={"packing": True}), data)
    assert joined.steps < apart.steps / 2
    assert joined.cells == pytest.approx(joined.tokens)
    assert apart.cells > apart.tokens


def test_batches_that_are_joined_or_sorted_have_less_padding() -> None:
    data = questions(1000)
    apart, by_length, joined = (
        work_of(plan(), data),
        work_of(plan(data={"batching": "by_length"}), data),
        work_of(plan(), data, joined=True),
    )
    assert joined.cells == pytest.approx(joined.tokens)
    assert joined.cells < by_length.cells < apart.cells


def test_on_a_cpu_samples_are_joined() -> None:
    usual = price(SMOLLM2, TWO_CORES, None, questions(1000), **FP32)
    eager = {"dtype": "fp32", "attention": "eager"}
    padded = price(SMOLLM2, TWO_CORES, None, questions(1000), model=eager)
    assert usual.hours.expected < 0.9 * padded.hours.expected


def test_hours_grow_with_the_work_and_have_a_range() -> None:
    short = price(SMOLLM2, TWO_CORES, None, questions(300), **FP32)
    long = price(SMOLLM2, TWO_CORES, None, questions(3000), **FP32)
    assert 5 * short.hours.expected < long.hours.expected < 15 * short.hours.expected
    assert long.hours.low < long.hours.expected < long.hours.high


def test_evaluation_takes_time() -> None:
    data = questions(3000)
    rarely = price(SMOLLM2, TWO_CORES, None, data, **FP32, evaluation={"every": 0.5})
    often = price(
        SMOLLM2,
        TWO_CORES,
        None,
        data,
        **FP32,
        evaluation={"every": 0.02, "max_rows": 300},
    )
    assert often.hours.expected > 1.2 * rarely.hours.expected


def test_without_data_there_are_no_hours() -> None:
    found = price()
    assert found.steps == 0
    assert found.hours.expected == 0
    assert found.tokens_per_second > 0
    assert any("No data" in note.en for note in found.notes)


def test_samples_are_as_long_as_the_data() -> None:
    short = price(QWEN_7B, RTX_3090, None, questions(500, longest=100), optim={"micro_batch": 8})
    long = price(QWEN_7B, RTX_3090, None, questions(500, longest=500), optim={"micro_batch": 8})
    assert short.peak_gib.expected < long.peak_gib.expected


def test_short_answers_need_few_logits() -> None:
    labels = questions(500)
    answer = labels.columns[1].model_copy(update={"longest": 8})
    labels = labels.model_copy(update={"columns": (labels.columns[0], answer)})
    assert (
        price(QWEN_7B, RTX_3090, None, labels).parts["loss"]
        < 0.2 * price(QWEN_7B, RTX_3090, None, questions(500)).parts["loss"]
    )


def test_the_biggest_lever_is_named() -> None:
    found = price(optim={"micro_batch": 8}, data={"max_length": 1024})
    lever = next(note for note in found.notes if "save most" in note.en)
    assert "launch.checkpointing" in lever.en
    assert "launch.checkpointing" in lever.zh
    full = price(QWEN_7B, FOUR_A100, full_footprint(QWEN_7B), launch={"checkpointing": True})
    assert any("fsdp2" in note.en or "lora" in note.en for note in full.notes)


def test_disk_counts_checkpoints_with_their_states() -> None:
    adapter, whole = price(SMOLLM2), price(SMOLLM2, RTX_3090, full_footprint(SMOLLM2))
    assert adapter.disk_gib < 0.3
    # Three are kept, and a fourth is written before one of them goes.
    assert whole.disk_gib == pytest.approx(4 * 12 * SMOLLM2.parameters.total / 2**30, rel=0.01)


def test_auto_precision_follows_the_hardware() -> None:
    auto = plan(model={"dtype": "auto"})
    assert compute_dtype(auto, RTX_3090) == "bf16"
    assert compute_dtype(auto, T4) == "fp32"
    assert compute_dtype(auto, LAPTOP) == "fp32"


def test_the_trainer_moves_fp32_weights_whatever_it_computes_in() -> None:
    assert setting_of(plan(), RTX_3090, None).master
    found = price(SMOLLM2, RTX_3090, full_footprint(SMOLLM2))
    assert found.parts["weights"] == pytest.approx(4 * SMOLLM2.parameters.total / 2**30, abs=0.01)


def test_length_curve_keeps_the_mean_and_the_quantiles() -> None:
    curve = LengthCurve.of(Lengths(p50=100, p95=300, longest=1000, total=160_000), rows=1000)
    assert curve.mean(10_000) == pytest.approx(160, rel=0.02)
    assert curve.at(0.5) == 100
    assert curve.at(0.95) == 300
    assert curve.at(1.0) == 1000
    assert curve.mean(100) < 100
    assert curve.padded(10_000, 1) == curve.mean(10_000)
    assert 160 < curve.padded(10_000, 4) < curve.padded(10_000, 32)
    assert curve.share_cut(300) == pytest.approx(0.05, abs=0.01)
    assert curve.share_cut(1000) == 0


def test_equal_lengths_are_no_special_case() -> None:
    curve = LengthCurve.of(Lengths(p50=64, p95=64, longest=64, total=640), rows=10)
    assert curve.mean(512) == curve.padded(512, 8) == 64
