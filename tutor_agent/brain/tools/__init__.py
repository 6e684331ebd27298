"""The actions as tools: one set for both brains."""

from __future__ import annotations

from tutor_agent.brain.tools.kit import Desk, Failure, Tool, ToolResult, call_tool, preview_tool
from tutor_agent.brain.tools.knowing import KNOWING
from tutor_agent.brain.tools.looking import LOOKING
from tutor_agent.brain.tools.mending import MENDING
from tutor_agent.brain.tools.migrating import MIGRATING
from tutor_agent.brain.tools.planning import PLANNING
from tutor_agent.brain.tools.running import RUNNING

TOOLS: tuple[Tool, ...] = (*LOOKING, *PLANNING, *MIGRATING, *RUNNING, *MENDING, *KNOWING)
BY_NAME: dict[str, Tool] = {tool.name: tool for tool in TOOLS}

__all__ = ["BY_NAME", "TOOLS", "Desk", "Failure", "Tool", "ToolResult", "call_tool", "preview_tool"]
