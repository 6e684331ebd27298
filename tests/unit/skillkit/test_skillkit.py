from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.resources import config_dir, state_dir
from tutor_agent.skillkit.load import load_skill, read_head
from tutor_agent.skillkit.registry import find_skills, is_trusted, trust

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """---
name: {name}
description: Does something. 做点事。
metadata:
  tutor-stage: train
  tutor-title: My skill
  tutor-title-zh: 我的技能
---
# body
"""
CODE = """
from __future__ import annotations

from dataclasses import dataclass
from tutor_agent.core.contract import Contract
from tutor_agent.core.job import Job
from tutor_agent.estimate.footprint import full_footprint


@dataclass
class Kept:
    value: int = 1


class Params(Contract):
    strength: int = 1


def check(facts, params):
    return []


def footprint(model, params):
    return full_footprint(model)


def build(plan, folder):
    return Job(script=str(folder / "scripts" / "train.py"))
"""


def add_skill(parent: Path, name: str, *, head: str = HEAD, code: str | None = CODE) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(head.format(name=name), encoding="utf-8")
    if code is not None:
        (folder / "skill.py").write_text(code, encoding="utf-8")
    return folder


def test_the_bundled_skills_are_found_without_running_their_code() -> None:
    registry = find_skills()
    assert {"lora", "full-fine-tuning", "layer-freezing"} <= set(registry.names)
    assert all(head.origin == "bundled" for head in registry.heads)
    assert registry.broken == ()
    assert {skill.name for skill in registry.stage("train")} >= {"lora", "layer-freezing"}


def test_listing_does_not_import(tmp_path: Path) -> None:
    add_skill(config_dir() / "skills", "loud", code="raise RuntimeError('ran')")
    registry = find_skills()
    assert "loud" in registry.names
    assert "tutor_skill_user_loud" not in sys.modules


def test_a_personal_skill_is_loaded_with_postponed_annotations() -> None:
    add_skill(config_dir() / "skills", "mine")
    skill = find_skills().get("mine")
    assert skill.title.zh == "我的技能"
    assert skill.params().model_dump() == {"strength": 1}
    assert skill.suggest is None


def test_a_broken_skill_is_a_warning_and_says_what_to_mend() -> None:
    skills = config_dir() / "skills"
    add_skill(skills, "raises", code="import nowhere_to_be_found")
    add_skill(skills, "no-check", code=CODE.replace("def check", "def chek"))
    add_skill(skills, "no-params", code=CODE.replace("class Params(Contract)", "class Params"))
    registry = find_skills()
    said = " ".join(text.en for text in registry.broken)
    assert "nowhere_to_be_found" in said
    assert "function check()" in said
    assert "class Params(Contract)" in said
    assert all(text.zh != text.en for text in registry.broken)
    assert "lora" in {skill.name for skill in registry.skills}
    with pytest.raises(NotFoundError, match="nowhere_to_be_found"):
        registry.get("raises")


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="lora"):
        find_skills().get("loar")


def test_a_skill_without_code_is_advice_only() -> None:
    add_skill(config_dir() / "skills", "read-me", code=None)
    registry = find_skills()
    assert "read-me" in registry.names
    assert "read-me" not in {skill.name for skill in registry.skills}


def test_workspace_skills_run_only_when_trusted(tmp_path: Path) -> None:
    add_skill(state_dir(tmp_path) / "skills", "local")
    before = find_skills(tmp_path)
    assert "local" not in before.names
    assert "local" in before.broken[0].en
    assert "local" in before.broken[0].zh
    trust(tmp_path)
    trust(tmp_path)
    assert is_trusted(tmp_path)
    assert find_skills(tmp_path).get("local").folder.parent == state_dir(tmp_path) / "skills"


def test_the_first_of_two_names_wins_and_the_other_is_reported() -> None:
    add_skill(config_dir() / "skills", "lora")
    registry = find_skills()
    assert registry.get("lora").folder.parent.name == "skills"
    assert "hidden" in registry.broken[0].en
    assert "alpha" in registry.get("lora").params.model_fields


def test_caches_and_hidden_folders_are_no_skills() -> None:
    for name in ("__pycache__", ".git"):
        (config_dir() / "skills" / name).mkdir(parents=True)
    assert find_skills().broken == ()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (HEAD.replace("name: {name}", "name: other"), "must equal the folder name"),
        (HEAD.replace("description:", "version: 2\ndescription:"), "unknown key 'version'"),
        (HEAD.replace("description: Does something. 做点事。", "description: ''"), "1 to 1024"),
        (HEAD.replace("tutor-stage: train", "tutor-order: 3"), "strings to strings"),
        (HEAD.replace("tutor-stage: train", 'tutor-api: "9"'), "tutor-api '9'"),
        ("no head at all", "head between two"),
    ],
)
def test_a_head_that_breaks_the_specification_is_explained(
    tmp_path: Path, head: str, said: str
) -> None:
    folder = add_skill(tmp_path, "wrong", head=head)
    with pytest.raises(UnreadableError, match=said):
        read_head(folder)


def test_a_folder_without_skill_md_is_explained(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match=r"no SKILL\.md"):
        read_head(tmp_path / "empty")


def test_loading_twice_gives_the_same_contract(tmp_path: Path) -> None:
    head = read_head(add_skill(tmp_path, "twice"))
    assert (
        load_skill(head).params.model_fields.keys() == load_skill(head).params.model_fields.keys()
    )


def test_skills_of_other_packages_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    add_skill(site / "more_skills", "extra")
    (site / "more_skills" / "__init__.py").write_text("", encoding="utf-8")
    info = site / "more_skills-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-skills\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tutor_agent.skills]\nmore = more_skills\nlost = not_there_at_all\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(site))
    registry = find_skills()
    assert registry.get("extra").folder == site / "more_skills" / "extra"
    assert any("not_there_at_all" in text.en for text in registry.broken)
    sys.modules.pop("more_skills", None)
