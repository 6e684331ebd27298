"""The offline brain: a pure function from the conversation to words and tool calls."""

from __future__ import annotations

from tutor_agent.brain.builtin.dialogue import decide
from tutor_agent.brain.builtin.scene import Call, Decision

__all__ = ["Call", "Decision", "decide"]
