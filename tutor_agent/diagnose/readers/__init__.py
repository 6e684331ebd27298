"""Readers: any tool's log becomes `Observations`."""

from tutor_agent.diagnose.readers.events import read_run_events
from tutor_agent.diagnose.readers.files import read_path, read_run, read_text

__all__ = ["read_path", "read_run", "read_run_events", "read_text"]
