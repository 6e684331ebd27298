"""The `tutor` command. Each sub-command imports what it needs inside itself."""

from __future__ import annotations


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from tutor_agent.cli.commands import run

    raise SystemExit(run())
