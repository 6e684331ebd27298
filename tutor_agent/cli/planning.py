"""Commands that decide: plan, estimate, why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tutor_agent.cli.output import Output
from tutor_agent.cli.state import State, json_flag, parse_change


@click.command()
@click.option("--goal", default="", help="What the model is to learn, in your words.")
@click.option("--model", required=True, help="Local folder, model id or catalogue name.")
@click.option("--data", required=True, help="CSV, JSONL or Parquet file.")
@click.option("--machine", help='Another machine, such as "4xA100-80G".')
@click.option("--name", help="Name of the plan.")
@click.option("--set", "settings", multiple=True, help="Decide a field: --set optim.epochs=1")
@click.option(
    "-o", "out", type=click.Path(dir_okay=False), help="Write plan.yaml and why.yaml there."
)
@json_flag
@click.pass_obj
def plan(
    state: State,
    *,
    goal: str,
    model: str,
    data: str,
    machine: str | None,
    name: str | None,
    settings: tuple[str, ...],
    out: str | None,
    as_json: bool,
) -> int:
    """Recommend a strategy and write its plan, with a reason for every value."""
    from tutor_agent.actions.plan import PlanRequest, make_plan
    from tutor_agent.brain.builtin.goal import understand_goal
    from tutor_agent.cli.machine_readable import advice_json
    from tutor_agent.cli.render import advice_lines
    from tutor_agent.core.advice import save_why
    from tutor_agent.core.changes import PlanChange

    output = Output(state.language, as_json)
    aim, decided = understand_goal(goal, state.language)
    request = PlanRequest(
        goal=aim,
        model=model,
        data=data,
        machine=machine,
        name=name,
        change=PlanChange(entries=decided.entries + parse_change(settings).entries),
    )
    advice = make_plan(state.context(), request)
    if out:
        path = Path(out)
        advice.plan.save(path)
        save_why(
            advice.why,
            path.with_name("why.yaml" if path.stem == "plan" else f"{path.stem}.why.yaml"),
        )
        output.say(f"→ {path}")
    if as_json:
        output.emit(advice_json(advice))
    else:
        output.lines(advice_lines(advice, state.language))
    return 0


def _launch(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "processes": options["processes"],
        "sharding": options["sharding"],
        "offload": options["offload"],
        "checkpointing": options["gradient_checkpointing"],
    }


def _lora_params(options: dict[str, Any]) -> dict[str, Any]:
    """Return the adapter parameters; `q,v` are short for the projections of the attention."""
    params: dict[str, Any] = {"r": options["lora_r"]} if options["lora_r"] else {}
    if options["quantization"] != "none":
        params["quantization"] = options["quantization"]
    if targets := options["lora_targets"]:
        names = [f"{name}_proj" if len(name) == 1 else name for name in targets.split(",")]
        params["targets"] = targets if targets in {"all-linear", "attention"} else names
    return params


@click.command()
@click.option("--model", required=True)
@click.option("--skill", default="lora", show_default=True)
@click.option("--precision", type=click.Choice(["bf16", "fp16", "fp32"]), default="bf16")
@click.option("--micro-batch", type=int, default=1, show_default=True)
@click.option("--accumulate", type=int, default=1, show_default=True)
@click.option("--max-length", type=int, default=2048, show_default=True)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"]),
    default="adamw",
)
@click.option("--gradient-checkpointing/--no-gradient-checkpointing", default=True)
@click.option("--attention", type=click.Choice(["sdpa", "flash", "flex", "eager"]), default="sdpa")
@click.option("--processes", type=int, default=1, show_default=True)
@click.option("--sharding", type=click.Choice(["none", "fsdp2", "zero2", "zero3"]), default="none")
@click.option("--offload", type=click.Choice(["none", "cpu"]), default="none")
@click.option("--lora-r", type=int)
@click.option("--lora-targets", help="all-linear, attention, or q,v")
@click.option(
    "--quantization",
    type=click.Choice(["none", "nf4", "int8"]),
    default="none",
    help="How the frozen weights below LoRA are held (QLoRA).",
)
@click.option(
    "--head", type=click.Choice(["language_model", "classifier"]), default="language_model"
)
@click.option("--gpu-memory", type=float, help="Memory of one GPU in GiB.")
@click.option("--liger/--no-liger", default=False)
@click.option("--compile/--no-compile", default=False)
@click.option("--machine", help='Such as "4xA100-80G".')
@json_flag
@click.pass_obj
def estimate(state: State, *, as_json: bool, **options: Any) -> int:
    """Memory and time of one configuration."""
    from tutor_agent.actions.estimate import EstimateRequest
    from tutor_agent.actions.estimate import estimate as run_estimate
    from tutor_agent.cli.machine_readable import forecast_json
    from tutor_agent.cli.render import forecast_lines

    keys = ("model", "skill", "precision", "micro_batch", "accumulate", "max_length", "optimizer")
    more = ("attention", "machine", "gpu_memory", "liger", "head", "compile")
    values = {key: options[key] for key in (*keys, *more)}
    launch, params = _launch(options), _lora_params(options)
    request = EstimateRequest.parse({**values, "launch": launch, "params": params}, "estimate")
    output = Output(state.language, as_json)
    result = run_estimate(state.context(), request)
    if as_json:
        output.emit(forecast_json(result))
    else:
        output.lines(forecast_lines(result, state.language))
    return 0


@click.command()
@click.argument("plan_path", type=click.Path())
@click.argument("field")
@json_flag
@click.pass_obj
def why(state: State, plan_path: str, field: str, as_json: bool) -> int:
    """Why a field of a plan has its value: tutor why plan.yaml learning_rate."""
    from tutor_agent.actions.plan import why_field
    from tutor_agent.cli.render import why_lines
    from tutor_agent.core.advice import load_why
    from tutor_agent.core.changes import flatten
    from tutor_agent.core.plan import Plan

    path = Path(plan_path)
    path = path / "plan.yaml" if path.is_dir() else path
    chosen = Plan.load(path)
    beside = path.with_name(f"{path.stem}.why.yaml")
    reasons = load_why(beside if beside.is_file() else path.with_name("why.yaml"))
    full, reason = why_field(chosen, reasons, field)
    value = flatten(chosen).get(full)
    output = Output(state.language, as_json)
    if as_json:
        output.emit({"field": full, "value": value, **reason.model_dump(mode="json")})
    else:
        output.lines(why_lines(full, str(value), reason, state.language))
    return 0


COMMANDS = (plan, estimate, why)
