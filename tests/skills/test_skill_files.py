"""Every skill folder: the specification, the contract, both languages, and nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.estimate.known import (
    DEEPSEEK_7B,
    LAPTOP,
    QWEN_7B,
    RTX_3090,
    SMOLLM2,
    V2_LITE,
    questions,
)
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import InvalidPlanError, NotPossibleError
from tutor_agent.core.facts import Facts, Goal, ModelFacts
from tutor_agent.core.frontmatter import split_frontmatter
from tutor_agent.core.plan import Plan
from tutor_agent.core.resources import bundled
from tutor_agent.core.text import detect_language
from tutor_agent.skillkit.load import ALLOWED_KEYS
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.skillkit.contract import Skill

FOLDERS = sorted(path for path in bundled("skills").iterdir() if path.name[0] not in "._")
TRAINING = ("lora", "full-fine-tuning", "layer-freezing")


def skill(name: str) -> Skill:
    return find_skills().get(name)


def facts(model: ModelFacts = SMOLLM2, rows: int = 300) -> Facts:
    return Facts(goal=Goal(), machine=LAPTOP, model=model, data=questions(rows))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_skill_md_follows_the_specification(folder: Path) -> None:
    head, body = split_frontmatter(folder / "SKILL.md")
    assert set(head) <= set(ALLOWED_KEYS)
    assert head["name"] == folder.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert len(head["description"]) <= 1024
    assert len(head.get("compatibility", "")) <= 500
    assert all(isinstance(v, str) for pair in head["metadata"].items() for v in pair)
    assert detect_language(head["description"]) == "zh"
    assert re.search(r"[A-Za-z]{4}", head["description"])
    assert head["license"] == "Apache-2.0"
    assert len(body.splitlines()) < 500


@pytest.mark.parametrize("name", TRAINING)
def test_the_body_tells_any_agent_how_to_run_it(name: str) -> None:
    _, body = split_frontmatter(bundled("skills") / name / "SKILL.md")
    assert "torch.distributed.run" in body
    assert "scripts/train.py --run RUN --model" in body
    assert "--resume" in body
    for path in re.findall(r"`(references/[\w.-]+)`", body):
        assert (bundled("skills") / name / path).is_file()


@pytest.mark.parametrize("name", TRAINING)
def test_the_plan_in_the_body_is_valid(name: str, tmp_path: Path) -> None:
    _, body = split_frontmatter(bundled("skills") / name / "SKILL.md")
    block = re.search(r"```yaml\n(.*?)```", body, re.DOTALL)
    assert block is not None
    path = tmp_path / "plan.yaml"
    path.write_text(re.sub(r"^   ", "", block[1], flags=re.MULTILINE), encoding="utf-8")
    plan = Plan.load(path)
    assert plan.skill == name
    skill(name).params.parse(plan.params, "params")


@pytest.mark.parametrize("name", TRAINING)
def test_every_parameter_has_help_and_a_default(name: str) -> None:
    params = skill(name).params
    assert issubclass(params, Contract)
    assert all(field.description for field in params.model_fields.values())
    assert params() == params.parse({}, "params")


@pytest.mark.parametrize("name", TRAINING)
def test_build_gives_the_job(name: str, tmp_path: Path) -> None:
    plan = Plan.parse(
        {
            "name": "x",
            "skill": name,
            "task": "qa",
            "model": {"source": "m"},
            "data": {"train": "d.csv"},
            "optim": {"learning_rate": 1e-4},
            "launch": {"processes": 3, "nodes": 2},
        },
        "test",
    )
    job = skill(name).build(plan, tmp_path / "with space")
    assert job.script == str(tmp_path / "with space" / "scripts" / "train.py")
    assert job.arguments == ("--run", "{run}", "--model", "{model}")
    assert (job.processes, job.nodes) == (3, 2)
    assert all(path.startswith("result/") for path in job.outputs)
    assert (skill(name).folder / "scripts" / "train.py").is_file()


def test_loading_all_skills_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tutor_agent.skillkit.registry import find_skills; assert find_skills().skills; "
        "print([m for m in ('torch', 'transformers', 'peft', 'accelerate', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_lora_names_attention_on_experts_and_everything_elsewhere() -> None:
    lora = skill("lora")
    assert lora.suggest is not None
    sparse, why = lora.suggest(facts(V2_LITE))
    assert sparse.targets == "attention"
    assert "router" in why["params.targets"].reason.en
    dense, _ = lora.suggest(facts(DEEPSEEK_7B, 5000))
    assert (dense.targets, dense.r, dense.alpha, dense.dropout) == ("all-linear", 16, 32, 0)
    assert lora.footprint(V2_LITE, sparse).trainable < 20_000_000


@pytest.mark.parametrize(
    "params",
    [
        {"targets": "all-linear", "dropout": 0.1},
        {"targets": ["experts.down_proj"], "dropout": 0.05},
        {"targets": ["shared_experts.up_proj"], "dropout": 0.05},
        {"targets": "all-linear", "dora": True},
    ],
)
def test_lora_on_experts_refuses_dropout_and_dora(params: dict[str, object]) -> None:
    lora = skill("lora")
    with pytest.raises(NotPossibleError, match="'attention'"):
        lora.check(facts(V2_LITE), lora.params.parse(params, "params"))
    lora.check(facts(DEEPSEEK_7B), lora.params.parse({"dropout": 0.1, "dora": True}, "params"))
    lora.check(facts(V2_LITE), lora.params.parse({"dropout": 0.1, "targets": "attention"}, "p"))


def test_lora_refuses_a_rank_wider_than_the_layer() -> None:
    lora = skill("lora")
    with pytest.raises(NotPossibleError, match="192, the width of k_proj"):
        lora.check(facts(), lora.params(r=200))
    assert lora.check(facts(), lora.params(r=192)) == []


def test_lora_warns_of_a_strong_scale() -> None:
    lora = skill("lora")
    (finding,) = lora.check(facts(), lora.params(r=4, alpha=128))
    assert finding.cause == "lr_too_high"
    assert "32" in finding.evidence[0].en
    assert lora.check(facts(), lora.params(r=64, alpha=32, rslora=True)) == []


@pytest.mark.parametrize("name", TRAINING)
def test_quantised_weights_are_refused(name: str) -> None:
    chosen = skill(name)
    fp8 = QWEN_7B.model_copy(update={"quantization": "fp8"})
    with pytest.raises(NotPossibleError, match="fp8"):
        chosen.check(facts(fp8), chosen.params())


@pytest.mark.parametrize(
    ("targets", "works"),
    [
        ("attention", True),
        (["o_proj", "experts.down_proj"], True),
        ("all-linear", False),
        (["shared_experts.up_proj"], False),
    ],
)
def test_packed_mixtures_take_adapters_on_what_stays_a_tensor(
    targets: str | list[str], works: bool
) -> None:
    lora = skill("lora")
    params = lora.params(targets=targets, quantization="nf4")
    if not works:
        with pytest.raises(NotPossibleError, match="'attention'"):
            lora.check(facts(V2_LITE), params)
        return
    (hint,) = lora.check(facts(V2_LITE), params)
    assert "fused" in hint.evidence[0].en
    assert lora.check(facts(QWEN_7B), lora.params(quantization="nf4")) == []


def test_freezing_refuses_more_layers_than_there_are() -> None:
    freezing = skill("layer-freezing")
    with pytest.raises(NotPossibleError, match="has 30 layers"):
        freezing.check(facts(), freezing.params(train_last=31))
    assert freezing.check(facts(), freezing.params(train_last=30)) == []
    with pytest.raises(InvalidPlanError):
        freezing.params.parse({"train_last": -1}, "params")
    with pytest.raises(NotPossibleError, match="nothing to train"):
        freezing.check(facts(), freezing.params(train_last=0))
    named = freezing.params(train_last=0, train_modules=["self_attn.o_proj"])
    assert freezing.check(facts(), named) == []
    assert 0 < freezing.footprint(SMOLLM2, named).trainable < SMOLLM2.parameters.total / 10


def test_freezing_warns_when_the_backward_pass_goes_to_the_bottom() -> None:
    freezing = skill("layer-freezing")
    (finding,) = freezing.check(facts(), freezing.params(train_head=True))
    assert "one matrix" in finding.evidence[0].en
    assert freezing.check(facts(QWEN_7B), freezing.params(train_head=True)) == []
    assert freezing.check(facts(QWEN_7B), freezing.params(train_embeddings=True))


def test_freezing_trains_more_layers_on_more_rows() -> None:
    suggest = skill("layer-freezing").suggest
    assert suggest is not None
    few, _ = suggest(facts(rows=200))
    many, _ = suggest(facts(rows=5000))
    assert (few.train_last, many.train_last) == (5, 10)


def test_full_fine_tuning_hints_at_forgetting() -> None:
    full = skill("full-fine-tuning")
    (finding,) = full.check(facts(QWEN_7B, 300), full.params())
    assert finding.cause == "catastrophic_forgetting"
    assert full.check(facts(QWEN_7B, 20_000), full.params()) == []
    assert full.check(facts(SMOLLM2, 300), full.params()) == []


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("model", [SMOLLM2, QWEN_7B, V2_LITE], ids=lambda model: model.name)
def test_suggestions_pass_their_own_check_and_give_reasons(name: str, model: ModelFacts) -> None:
    chosen = skill(name)
    described = Facts(goal=Goal(), machine=RTX_3090, model=model, data=questions(5000))
    params, why = chosen.suggest(described) if chosen.suggest else (chosen.params(), {})
    assert all(found.severity != "stop" for found in chosen.check(described, params))
    assert {f"params.{key}" for key in params.model_fields_set} <= set(why)
    for reason in why.values():
        assert reason.reason.en
        assert detect_language(reason.reason.zh) == "zh"
        assert reason.source
