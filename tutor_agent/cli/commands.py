"""The command group. A face only: a command parses, calls one action, and prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tutor_agent import __version__
from tutor_agent.cli import migrating, planning, running, talking
from tutor_agent.cli.output import Output
from tutor_agent.cli.state import State
from tutor_agent.core.errors import TutorError
from tutor_agent.core.settings import load_settings

if TYPE_CHECKING:
    from tutor_agent.core.text import Language

INTERRUPTED = 130


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; a person's mistake never shows a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    output = Output("en", "--json" in given)
    try:
        output = Output(load_settings().speak(), "--json" in given)
        return int(tutor.main(args=given, prog_name="tutor", standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return 2
    except TutorError as error:
        return output.fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 0


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tutor")
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the conversation.")
@click.option("--plain", is_flag=True, help="Line mode: no full-screen app.")
@click.option("--continue", "resume", is_flag=True, help="Go on with the last conversation.")
@click.option("--session", help="Go on with this conversation.")
@click.pass_context
def tutor(
    ctx: click.Context, lang: Language | None, plain: bool, resume: bool, session: str | None
) -> int:
    """A tutor that fine-tunes language models with you. Without a command it opens the app."""
    ctx.obj = State(lang or load_settings().speak())
    if ctx.invoked_subcommand is not None:
        return 0
    from tutor_agent.cli.app import open_app

    context = ctx.obj.context()
    return open_app(context, plain=plain, resume=resume, session=session, language=lang)


for module in (talking, planning, migrating, running):
    for command in module.COMMANDS:
        tutor.add_command(command)
