"""What the light side costs: prints figures, asserts nothing.

python tests/benchmarks/speed.py
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tutor_agent.core.events import Event, parse_event
from tutor_agent.core.plan import DataChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.diagnose.watch import Watch
from tutor_agent.library.cards import load_cards
from tutor_agent.library.search import open_index

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = Plan(
    name="speed",
    skill="lora",
    task="chat",
    model=ModelChoice(source="none"),
    data=DataChoice(train="none"),
    optim=OptimChoice(learning_rate=2e-4),
)
EVENTS = 4000


def events() -> list[Event]:
    """Return the steps of an ordinary run."""
    noise = random.Random(0)
    return [
        Event(
            run="speed-1",
            attempt=0,
            seq=step,
            t=float(step),
            step=step,
            kind="step",
            payload={
                "loss": 1 + 2 / step + noise.random() / 10,
                "grad_norm": 1.0,
                "epoch": step / EVENTS,
            },
        )
        for step in range(1, EVENTS + 1)
    ]


def report(name: str, times: int, work: Callable[[], object]) -> None:
    """Print the processor time of `work` divided by `times`."""
    start = time.process_time()
    work()
    print(f"{name:32} {(time.process_time() - start) / times * 1e6:10.1f} µs")


def main() -> None:
    """Measure everything once."""
    written = events()
    lines = [event.line() for event in written]
    watch, index = Watch(PLAN), open_index()
    asked = [question for card in load_cards() for question in card.ask.every()]
    report("write an event", EVENTS, lambda: [event.line() for event in written])
    report("read an event", EVENTS, lambda: [parse_event(line) for line in lines])
    report("watch an event", EVENTS, lambda: [watch.feed(event) for event in written])
    report("look a question up", len(asked), lambda: [index.search(question) for question in asked])


if __name__ == "__main__":
    main()
