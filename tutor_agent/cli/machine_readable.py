"""The JSON of the commands whose shape is a stable contract (see ARCHITECTURE.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice
    from tutor_agent.core.findings import Diagnosis
    from tutor_agent.core.forecast import Forecast


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return `{"verdict", "language", "causes": [{"cause", "confidence", "evidence", "fixes"}]}`."""
    language = diagnosis.language
    causes = [
        {
            "cause": finding.cause,
            "confidence": round(finding.confidence, 3),
            "title": finding.title.pick(language),
            "evidence": [text.pick(language) for text in finding.evidence],
            "fixes": [
                {
                    "id": fix.id,
                    "safety": fix.safety,
                    "title": fix.title.pick(language),
                    "change": [entry.model_dump(mode="json") for entry in fix.change.entries],
                }
                for fix in finding.fixes
            ],
        }
        for finding in diagnosis.findings
    ]
    note = diagnosis.note.pick(language) if diagnosis.note else None
    return {"verdict": diagnosis.verdict, "language": language, "causes": causes, "note": note}


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """Return the estimate's contract: peak, parts, stage, fit, speed, hours."""
    return {
        "peak_gib_per_gpu": forecast.peak_gib.model_dump(),
        "parts": forecast.parts,
        "peak_stage": forecast.peak_stage,
        "fits": forecast.fits,
        "capacity_gib": forecast.capacity_gib,
        "tokens_per_second": forecast.tokens_per_second,
        "hours": forecast.hours.expected,
        "hours_range": forecast.hours.model_dump(),
        "steps": forecast.steps,
        "disk_gib": forecast.disk_gib,
        "trainable": forecast.trainable,
        "notes": [note.model_dump() for note in forecast.notes],
    }


def advice_json(advice: Advice) -> dict[str, Any]:
    """Return plan, why, forecast, candidates and warnings."""
    return {
        "plan": advice.plan.model_dump(mode="json"),
        "why": {path: why.model_dump(mode="json") for path, why in advice.why.items()},
        "forecast": forecast_json(advice.forecast),
        "candidates": [
            {
                "skill": candidate.skill,
                "recommended": candidate.recommended,
                "verdict": candidate.verdict.model_dump(),
                "forecast": forecast_json(candidate.forecast),
            }
            for candidate in advice.candidates
        ],
        "warnings": [warning.model_dump() for warning in advice.warnings],
    }
