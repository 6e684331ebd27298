from __future__ import annotations

import string
from typing import TYPE_CHECKING, get_args

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, say, text_of, until
from tests.tui.scenes import PLAN, PlanningTalk
from tutor_agent.core.changes import flatten
from tutor_agent.core.findings import Fix
from tutor_agent.core.forecast import Forecast
from tutor_agent.core.plan import OptimChoice, Task
from tutor_agent.runs.folder import State
from tutor_agent.tui.commands import COMMANDS
from tutor_agent.tui.settings import Look, load_look
from tutor_agent.tui.theme import DEEP, PAPER
from tutor_agent.tui.widgets.bars import TabBar
from tutor_agent.tui.widgets.plan_card import PlanCard
from tutor_agent.tui.wording import load_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]


def test_both_languages_have_the_same_words() -> None:
    zh, en = load_table("zh"), load_table("en")
    assert set(zh) == set(en)
    for key in zh:
        assert _places(zh[key]) == _places(en[key]), key


@pytest.mark.parametrize(
    ("prefix", "values"),
    [
        ("state", get_args(State)),
        ("fits", get_args(Forecast.model_fields["fits"].annotation)),
        ("task", get_args(Task)),
        ("schedule", get_args(OptimChoice.model_fields["schedule"].annotation)),
        ("safety", get_args(Fix.model_fields["safety"].annotation)),
        ("command", [command.name for command in COMMANDS]),
    ],
)
def test_every_value_has_a_word(prefix: str, values: list[str]) -> None:
    assert values
    assert {f"{prefix}.{value}" for value in values} <= set(load_table("en"))


def test_every_plan_field_has_a_word() -> None:
    leaves = {path.rpartition(".")[2] for path in flatten(PLAN)}
    assert {f"field.{leaf}" for leaf in leaves} <= set(load_table("en"))


def _places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_themes_have_the_same_variables() -> None:
    assert set(DEEP.variables) == set(PAPER.variables)


@pytest.mark.parametrize("theme", [DEEP, PAPER], ids=["deep", "paper"])
def test_words_can_be_read_on_every_ground(theme: object) -> None:
    assert isinstance(theme, type(DEEP))
    grounds = [str(theme.background), str(theme.surface), theme.variables["tint"]]
    for name in ("value", "detail", "label", "trouble", "caution", "healthy", "done"):
        for ground in grounds:
            assert _contrast(theme.variables[name], ground) >= 4.5, (name, ground)


def _contrast(first: str, second: str) -> float:
    bright, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_language_switches_live_and_is_kept(make_app: MakeApp) -> None:
    app = make_app("zh", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        await until(pilot, lambda: "学习率" in text_of(app))
        await pilot.press("f3")
        await until(pilot, lambda: "Method" in text_of(app))
        assert "学习率" not in text_of(app)
        assert str(one(app, PlanCard).border_title) == "Plan"
        assert app.context.language == "en"
        assert app.main.prompt.area.placeholder == load_table("en")["prompt.placeholder"]
    assert load_look() == Look(language="en")
    assert make_app("zh", chosen=False).words.language == "en"


async def test_the_app_follows_the_language_of_the_person(make_app: MakeApp) -> None:
    app = make_app("en", PlanningTalk, chosen=False)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "我想微调一个小模型")
        assert app.context.language == "zh"
        assert app.main.prompt.area.placeholder == load_table("zh")["prompt.placeholder"]
        await say(pilot, app, "please make the batch smaller")
        assert app.context.language == "en"
    assert load_look() == Look()


async def test_a_chosen_language_stays(make_app: MakeApp) -> None:
    app = make_app("en", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "我想微调一个小模型")
        assert app.context.language == "en"


async def test_theme_switches_live_and_is_kept(make_app: MakeApp) -> None:
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "/theme")
        assert app.theme == "paper"
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        ground = strips[20]._segments[0].style
        assert ground is not None
        assert ground.bgcolor is not None
        assert ground.bgcolor.name == PAPER.background
        await say(pilot, app, "/theme dark")
        assert app.theme == "deep"
    assert load_look().theme == "deep"


async def test_resize_moves_the_run_panel_to_a_tab(make_app: MakeApp) -> None:
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        assert app.main.panel.display
        assert not app.main.query_one(TabBar).display
        await pilot.resize_terminal(*NARROW)
        await until(pilot, lambda: app.main.query_one(TabBar).display)
        assert not app.main.panel.display
        await pilot.press("f2")
        assert app.main.panel.display
        assert not app.transcript.display
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: app.transcript.display)
        assert app.main.panel.display


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [WIDE, NARROW, (100, 30), (99, 24)])
async def test_no_row_is_wider_than_the_screen(
    make_app: MakeApp, language: str, size: tuple[int, int]
) -> None:
    from rich.cells import cell_len

    app = make_app(language, PlanningTalk)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        for key in ("f2", "f2", "f2"):
            await pilot.press(key)
            await pilot.pause()
            for row in text_of(app).splitlines():
                assert cell_len(row) == size[0]


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_help_lists_every_command(make_app: MakeApp, language: str) -> None:
    from tutor_agent.tui.widgets.papers import HelpPaper

    app = make_app(language)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is not app.main)
        shown = app.screen.query_one(HelpPaper).paint(80).plain
        for command in COMMANDS:
            assert f"/{command.name}" in shown
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.main)
