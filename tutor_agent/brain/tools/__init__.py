"""The actions as tools: one set for both brains."""

from __future__ import annotations

from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult

TOOLS: tuple[Tool, ...] = ()

__all__ = ["TOOLS", "Desk", "Tool", "ToolResult"]
