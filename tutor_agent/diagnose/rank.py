"""Causes compete on evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.findings import Diagnosis
from tutor_agent.core.text import detect_language
from tutor_agent.diagnose.observations import Observations, with_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from tutor_agent.core.text import Language


def diagnose(
    observations: Observations,
    *,
    symptom: str = "",
    config: Mapping[str, JsonValue] | None = None,
    language: Language | None = None,
) -> Diagnosis:
    """Name what went wrong, or say that it is healthy or unknown."""
    seen = with_words(observations, symptom, config)
    return Diagnosis(verdict="unknown", language=language or detect_language(seen.symptom))
