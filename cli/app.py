"""The `mindset` command, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import sys

import structlog
import typer

from cli import ask, demo, deploy, evaluation, installation, keys, knowledge_bases, migrate, releases, runs, stack
from cli.output import Exit, err, exit_code
from mindset.errors import MindsetError

app = typer.Typer(
    help="Evaluated nightly releases of a searchable knowledge base, and answers from the live one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
for part in (demo, stack, migrate, deploy, runs, ask, releases, evaluation):
    part.add_to(app)
app.add_typer(knowledge_bases.app, name="kb")
app.add_typer(keys.app, name="keys")
app.add_typer(installation.app, name="installation")


def main() -> None:
    """Run the command. Exit codes are 0 and those of `cli.output.Exit`."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except MindsetError as error:
        err.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        err.print(str(error), markup=False, highlight=False)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    main()
