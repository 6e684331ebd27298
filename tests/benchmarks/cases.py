"""Score the diagnosis on cases: python tests/benchmarks/cases.py FOLDER.

A case is a YAML file of its own, or an entry of a list in one. Prints top-1 and top-3 accuracy, fix match,
healthy recall and false alarms, per language, kind and evidence grade, and every miss. It asserts nothing:
the figures are for people.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tutor_agent.diagnose.faults import load_faults
from tutor_agent.diagnose.likeness import sayings
from tutor_agent.diagnose.observations import Observations
from tutor_agent.diagnose.rank import THRESHOLD, candidates, diagnose
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.signs import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.findings import Diagnosis


def cases_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every case of a folder, or of one file, under the same keys."""
    paths = sorted(folder.glob("*.yaml")) if folder.is_dir() else [folder]
    for path in paths:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        for case in held if isinstance(held, list) else [held]:
            yield {
                "root_cause": case.get("cause"),
                "also_acceptable": case.get("also", []),
                "config": {},
                **case,
            }


def diagnosis_of(case: dict[str, Any]) -> Diagnosis:
    """Diagnose one case as a person would give it."""
    return diagnose(
        read_text(case["log"]), symptom=case["symptom"], config=case.get("config") or {}
    )


def named(result: Diagnosis) -> list[str]:
    """Return the named causes, best first; `healthy` and `unknown` are answers."""
    if result.verdict != "fault":
        return [result.verdict]
    return [finding.cause for finding in result.findings]


def fix_matches(case: dict[str, Any], result: Diagnosis) -> bool | None:
    """Whether the fixes of the first cause hold the right one and no wrong one; None if not known."""
    if "fix" not in case:
        return None
    fixes = result.findings[0].fixes if result.findings else ()
    told = "\n".join(
        f"{fix.title.en}\n{fix.title.zh}\n{fix.change.model_dump_json()}" for fix in fixes
    )
    wrong = case.get("wrong")
    right = re.search(case["fix"], told, re.IGNORECASE) is not None
    return right and not (wrong and re.search(wrong, told, re.IGNORECASE))


def score_sayings() -> None:
    """Print how often a complaint of a card finds it again while that complaint is left out."""
    ranks: list[int] = []
    for card in load_faults():
        for saying in card.sayings:
            likeness = sayings().like(saying, apart_from=saying)
            ranked = candidates(Scene(Observations(symptom=saying), likeness), least=THRESHOLD / 2)
            causes = list(dict.fromkeys(candidate.fault.cause for candidate in ranked))
            ranks.append(causes.index(card.cause) if card.cause in causes else len(causes) + 99)
    first, third = (sum(rank < limit for rank in ranks) / len(ranks) for limit in (1, 3))
    print(f"complaints, each left out once: n {len(ranks)}  top-1 {first:.1%}  top-3 {third:.1%}")


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true", help="list every case")
    options = parser.parse_args()
    scores: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    fixes: list[bool] = []
    false_alarms = 0
    started = time.perf_counter()
    for case in cases_in(options.folder):
        right = {case["root_cause"], *case["also_acceptable"]}
        result = diagnosis_of(case)
        causes = named(result)
        top1, top3 = causes[0] in right, bool(right & set(causes[:3]))
        healthy = case["root_cause"] == "healthy"
        false_alarms += healthy and causes[0] not in {"healthy", "unknown"} | right
        fix = fix_matches(case, result)
        fixes += [] if fix is None else [fix]
        for key in (
            "all",
            case["language"],
            f"grade {case.get('evidence_grade', '-')}",
            f"kind {case.get('kind', '-')}",
            "healthy" if healthy else "faults",
        ):
            scores[key].append((top1, top3))
        if options.verbose or not top1 or fix is False:
            mark = (
                "ok  "
                if top1 and fix is not False
                else "fix "
                if top1
                else "top3"
                if top3
                else "MISS"
            )
            print(
                f"{mark} {case['id']:11} wanted {case['root_cause']}; got {', '.join(causes[:4])}"
            )
    seconds = time.perf_counter() - started
    for key, results in sorted(scores.items()):
        first = sum(top1 for top1, _ in results)
        third = sum(top3 for _, top3 in results)
        print(
            f"{key:16} n {len(results):3}  top-1 {first / len(results):6.1%}  top-3 {third / len(results):6.1%}"
        )
    if fixes:
        print(f"fix match        n {len(fixes):3}  {sum(fixes) / len(fixes):.1%}")
    score_sayings()
    count = len(scores["all"])
    print(
        f"false alarms on healthy cases {false_alarms}; {1000 * seconds / max(1, count):.1f} ms a case"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
