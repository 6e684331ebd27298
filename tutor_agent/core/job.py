"""What a skill's `build` returns and a launcher runs."""

from __future__ import annotations

from tutor_agent.core.contract import Contract


class Job(Contract):
    """One program on one or more processes. The same job runs locally, under Slurm or over ssh."""

    script: str
    """Absolute path of the program."""
    arguments: tuple[str, ...] = ()
    """Its arguments; `{run}`, `{model}` stand for the run folder and the local model folder."""
    environment: dict[str, str] = {}
    """Variables added to the environment."""
    processes: int = 1
    """Processes per node."""
    nodes: int = 1
    """Nodes."""
    outputs: tuple[str, ...] = ()
    """Files expected in the run folder at the end."""
