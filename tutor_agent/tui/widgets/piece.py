"""The base of what the app draws itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widget import Widget

from tutor_agent.tui.paint import Flow

if TYPE_CHECKING:
    from textual.app import App

    from tutor_agent.tui.wording import Speaker, Words


def words_of(widget: Widget) -> Words:
    """Return the words of the language that the app shows now."""
    app = cast("object", widget.app)  # pyright: ignore[reportUnknownMemberType] - generic over its result
    return cast("Speaker", app).words


def colours_of(widget: Widget) -> tuple[str, dict[str, str]]:
    """Return the name of the theme that is worn now, and its variables."""
    app = cast("App[None]", widget.app)  # pyright: ignore[reportUnknownMemberType] - as above
    return app.theme, app.theme_variables


class Piece(Widget):
    """A widget that is a drawing: a function of its values, the words and the width."""

    DEFAULT_CSS = """
    Piece { width: 1fr; height: auto; }
    """

    @property
    def words(self) -> Words:
        """The words of the language that is shown now."""
        return words_of(self)

    def paint(self, width: int) -> Content:
        """Return the drawing for `width` cells."""
        return Content("")

    def render(self) -> Flow:
        """Hand the drawing to Textual."""
        return Flow(self.paint)

    def reword(self) -> None:
        """Draw again after the language or the theme changed."""
        self.refresh(layout=True)
