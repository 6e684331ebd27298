"""Values and a scripted conversation for tests of the app: a fake at its border with the brain."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from tutor_agent.actions.fix import FixProposal
from tutor_agent.brain.talk import Approval, Ended, Said, Used, Using, Verdict
from tutor_agent.brain.tools.kit import ToolResult
from tutor_agent.core.advice import Advice, Candidate, Why
from tutor_agent.core.changes import PlanChange, apply, diff
from tutor_agent.core.events import Event, append_event
from tutor_agent.core.facts import (
    Accelerator,
    Column,
    DataFacts,
    Lengths,
    Machine,
    ModelFacts,
    Parameters,
    Problem,
    Shape,
)
from tutor_agent.core.findings import Finding, Fix
from tutor_agent.core.forecast import Forecast, Range
from tutor_agent.core.plan import DataChoice, LaunchChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.core.text import Text
from tutor_agent.runs.folder import Lineage, RunFolder, Status, create_run, write_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.history import NoticeEntry
    from tutor_agent.brain.sessions import Session
    from tutor_agent.brain.talk import Approve, TalkEvent
    from tutor_agent.core.events import Kind
    from tutor_agent.runs.folder import State

PLAN = Plan(
    name="support-bot",
    skill="lora",
    params={"r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"},
    task="chat",
    model=ModelChoice(source="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", dtype="bf16"),
    data=DataChoice(train="data/tickets.jsonl", max_length=2048),
    optim=OptimChoice(learning_rate=2e-4, epochs=3, micro_batch=8, accumulate=4),
    launch=LaunchChoice(processes=4),
)
FORECAST = Forecast(
    peak_gib=Range(low=27.0, expected=31.0, high=36.0),
    parts={"weights": 14.2, "activations": 9.1, "states": 0.6, "loss": 4.0},
    peak_stage="backward",
    capacity_gib=80.0,
    fits="yes",
    tokens_per_second=5100.0,
    steps=1170,
    hours=Range(low=0.3, expected=0.37, high=0.5),
    disk_gib=1.2,
    trainable=40_370_176,
    notes=(Text(en="Figures rest on the model's shape.", zh="数字由模型结构算出。"),),
)
ADVICE = Advice(
    plan=PLAN,
    why={
        "optim.learning_rate": Why(
            reason=Text(
                en="LoRA learns best about ten times above full fine-tuning.",
                zh="LoRA 的最佳学习率大约是全参微调的十倍，四卡大批量下 2e-4 最稳。",
            ),
            card="lora-learning-rate",
            source="LoRA Without Regret",
            alternative=Text(en="1e-4 for fewer than 500 rows.", zh="少于 500 条时用 1e-4。"),
        ),
        "params.r": Why(
            reason=Text(
                en="Sixteen is enough for 5,000 rows.", zh="5000 条数据用 16 就够了，再大收益很小。"
            ),
            assumed=True,
        ),
    },
    forecast=FORECAST,
    candidates=(
        Candidate(
            skill="lora",
            title=Text(en="LoRA", zh="LoRA"),
            forecast=FORECAST,
            verdict=Text(en="Fits and is quick.", zh="放得下，也快，适合 5 千条数据。"),
            recommended=True,
        ),
        Candidate(
            skill="full-fine-tuning",
            title=Text(en="Full fine-tuning", zh="全参微调"),
            forecast=FORECAST.model_copy(
                update={
                    "fits": "no",
                    "peak_gib": Range(low=105, expected=112, high=121),
                    "hours": Range(low=1, expected=1.5, high=2),
                }
            ),
            verdict=Text(en="Needs 112 GiB on one card.", zh="单卡约需 112 GiB，放不下。"),
        ),
    ),
)
MACHINE = Machine(
    accelerators=tuple(
        Accelerator(name="NVIDIA A100-SXM4-80GB", memory_gib=80, free_gib=79, capability="8.0")
        for _ in range(4)
    ),
    cpu="AMD EPYC 7763",
    cores=64,
    cpu_bf16=False,
    ram_gib=512,
    free_ram_gib=480,
    free_disk_gib=900,
    link="nvlink",
)
DATA = DataFacts(
    path="data/tickets.jsonl",
    container="jsonl",
    format="messages",
    task="chat",
    rows=5012,
    columns=(Column(name="messages", kind="list"),),
    roles={"messages": "messages"},
    lengths=Lengths(p50=311, p95=812, longest=4120, total=1_912_000),
    duplicates=31,
    language="zh",
    problems=(
        Problem(line=88, text=Text(en="The answer is empty; left out.", zh="回答为空，已略过。")),
    ),
)
MODEL = ModelFacts(
    name="DeepSeek-R1-Distill-Qwen-7B",
    source="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    architecture="Qwen2ForCausalLM",
    shape=Shape(
        layers=28,
        hidden=3584,
        heads=28,
        kv_heads=4,
        head_dim=128,
        intermediate=18944,
        vocab=152064,
        max_positions=131072,
    ),
    parameters=Parameters(total=7_615_616_512, active=7_615_616_512),
    special=(
        Text(
            en="It thinks before it answers.",
            zh="它会先思考再回答：数据里要不要思考过程，需要先想好。",
        ),
    ),
)
FIX = Fix(
    id="lower-lr",
    safety="safe",
    title=Text(en="Halve the learning rate", zh="把学习率减半，改用 bf16"),
    change=PlanChange.set(optim__learning_rate=1e-4, model__dtype="bf16"),
)
FINDING = Finding(
    cause="lr-too-high",
    title=Text(en="The loss became NaN at step 412", zh="第 412 步损失变成 NaN"),
    confidence=0.92,
    evidence=(
        Text(
            en="The gradient rose 1.2 → 48 → inf (steps 406–411)",
            zh="梯度 1.2 → 48 → inf（步 406–411）",
        ),
        Text(en="37 fp16 overflows before it", zh="此前 fp16 溢出 37 次"),
    ),
    fixes=(FIX,),
    step=412,
)
BROKEN_PLAN = apply(PLAN, PlanChange.set(model__dtype="fp16"))
PROPOSAL = FixProposal(
    run="support-bot-1",
    finding=FINDING,
    fix=FIX,
    before=BROKEN_PLAN,
    after=apply(BROKEN_PLAN, FIX.change),
    change=diff(BROKEN_PLAN, apply(BROKEN_PLAN, FIX.change)),
    resume_from="runs/support-bot-1/checkpoints/checkpoint-400",
)


def used(call: str, tool: str, title: Text, view: object, summary: Text) -> list[TalkEvent]:
    """Return the two events of a tool that did what it was asked."""
    result = ToolResult(data=None, view=view, summary=summary)
    return [
        Using(call=call, tool=tool, title=title, arguments={}),
        Used(call=call, tool=tool, result=result, ok=True),
    ]


class ScriptedTalk:
    """Answers by a script: a function from words to events. Remembers what it heard."""

    def __init__(self, context: Context, session: Session) -> None:
        self.context = context
        self.session = session
        self.heard: list[str] = []
        self.noticed: list[NoticeEntry] = []
        self.verdicts: list[Verdict] = []
        self.interrupts = 0
        self.answers_with = "builtin"
        self.loaded = False

    def load(self) -> None:
        self.loaded = True

    async def send(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        self.heard.append(words)
        async for event in self.answer(words, approve):
            yield event
        yield Ended(answered_by="builtin")

    async def notify(self, notice: NoticeEntry, approve: Approve) -> AsyncIterator[TalkEvent]:
        self.noticed.append(notice)
        yield Said(text=notice.text.zh)
        yield Ended(answered_by="builtin")

    def interrupt(self) -> bool:
        self.interrupts += 1
        return True

    async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        yield Said(text=f"echo: {words}")


class PlanningTalk(ScriptedTalk):
    """Makes a plan, starts it after approval."""

    async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        if words.startswith(("启动", "Start")):
            approval = Approval(
                call="c9",
                tool="start_run",
                title=Text(en="Start the run", zh="启动训练"),
                arguments={"plan": PLAN.name},
                preview=ADVICE,
            )
            self.verdicts.append(await approve(approval))
            yield Said(text="好的。")
            return
        look = Text(en="Look at the machine", zh="看硬件")
        facts = Text(en="4×A100-80G · NVLink · bf16", zh="4×A100-80G · NVLink · bf16")
        for event in used("c1", "inspect_machine", look, MACHINE, facts):
            yield event
        check = Text(en="Check the data", zh="查数据")
        rows = Text(
            en="5,012 rows · 31 duplicates · p95 812 tokens",
            zh="5,012 条 · 31 条重复已去 · p95 812 token",
        )
        for event in used("c2", "inspect_data", check, DATA, rows):
            yield event
        for piece in (
            "7B 全参训练连同 Adam 约需 **112 GB**，一张卡放不下；",
            "你有 5 千条数据，先用 **LoRA** 最稳，四卡约 22 分钟。",
        ):
            yield Said(text=piece)
        title = Text(en="Make a plan", zh="定方案")
        summary = Text(en="support-bot: LoRA", zh="support-bot：LoRA")
        for event in used("c3", "make_plan", title, ADVICE, summary):
            yield event


def make_run(
    root: Path,
    plan: Plan = PLAN,
    *,
    state: State = "running",
    step: int = 0,
    parent: str | None = None,
) -> RunFolder:
    """Make a run folder as a supervisor would."""
    folder = create_run(root, plan, {}, lineage=Lineage(parent=parent))
    write_status(folder, Status(state=state, step=step, total_steps=1170))
    return folder


class EventLog:
    """Writes events as rank 0 would."""

    def __init__(self, folder: RunFolder, *, seed: int = 7) -> None:
        self.folder = folder
        self._seq = 0
        self._random = random.Random(seed)
        self.time = 1_790_000_000.0

    def add(self, kind: Kind, step: int, attempt: int = 0, **payload: float | str) -> None:
        self._seq += 1
        self.time += 0.6
        event = Event(
            run=self.folder.name,
            attempt=attempt,
            seq=self._seq,
            t=self.time,
            step=step,
            kind=kind,
            payload=dict(payload),
        )
        append_event(self.folder.events, event)

    def start(self, total: int = 1170) -> None:
        self.add("run_started", 0, world_size=4, device="cuda", dtype="bf16", total_steps=total)

    def train(self, first: int, last: int, *, every: int = 1) -> None:
        """Log a falling loss, with an evaluation each hundred steps."""
        for step in range(first, last + 1, every):
            mean = 0.95 + 1.75 * math.exp(-step / 120)
            loss = mean + self._random.gauss(0, 0.07 + 0.05 * math.exp(-step / 100))
            self.add(
                "step",
                step,
                loss=loss,
                grad_norm=1.2,
                learning_rate=1.8e-4,
                tokens_per_second=5100.0,
                memory_gib=31.0,
            )
            if step % 100 == 0:
                self.add("evaluation", step, split="validation", phase="during", loss=mean + 0.12)
