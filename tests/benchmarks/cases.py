"""Score the diagnosis on a folder of cases: python tests/benchmarks/cases.py FOLDER.

Prints top-1 and top-3 accuracy, healthy recall and false alarms, per language and evidence grade, and
every miss. It asserts nothing: the figures are for people.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from tutor_agent.diagnose.faults import load_faults
from tutor_agent.diagnose.likeness import sayings
from tutor_agent.diagnose.observations import Observations
from tutor_agent.diagnose.rank import THRESHOLD, candidates, diagnose
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.signs import Scene


def answers(case: dict[str, Any]) -> list[str]:
    """Return the named causes of one case, best first; `healthy` and `unknown` are answers."""
    result = diagnose(
        read_text(case["log"]), symptom=case["symptom"], config=case.get("config") or {}
    )
    if result.verdict != "fault":
        return [result.verdict]
    return [finding.cause for finding in result.findings]


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
    false_alarms = 0
    started = time.perf_counter()
    paths = sorted(options.folder.glob("*.yaml"))
    for path in paths:
        case = yaml.safe_load(path.read_text(encoding="utf-8"))
        right = {case["root_cause"], *case["also_acceptable"]}
        named = answers(case)
        top1, top3 = named[0] in right, bool(right & set(named[:3]))
        healthy = case["root_cause"] == "healthy"
        false_alarms += healthy and named[0] not in {"healthy", "unknown"} | right
        for key in (
            "all",
            case["language"],
            f"grade {case['evidence_grade']}",
            f"kind {case['kind']}",
        ):
            scores[key].append((top1, top3))
        scores["healthy" if healthy else "faults"].append((top1, top3))
        if options.verbose or not top1:
            mark = "ok  " if top1 else ("top3" if top3 else "MISS")
            print(f"{mark} {case['id']:11} wanted {case['root_cause']}; got {', '.join(named[:4])}")
    seconds = time.perf_counter() - started
    for key, results in sorted(scores.items()):
        first = sum(top1 for top1, _ in results)
        third = sum(top3 for _, top3 in results)
        print(
            f"{key:16} n {len(results):3}  top-1 {first / len(results):6.1%}  top-3 {third / len(results):6.1%}"
        )
    score_sayings()
    print(
        f"false alarms on healthy cases {false_alarms}; {1000 * seconds / max(1, len(paths)):.1f} ms a case"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
