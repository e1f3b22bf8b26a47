"""The command's parts, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import sys

import structlog
import typer
from stamina.instrumentation import set_on_retry_hooks

from cli import ask as questions
from cli import demo, evaluation, keys, knowledge_bases, migrate, releases, stack
from cli import runs as nights
from cli.output import Exit, err, exit_code
from mindset.errors import MindsetError

app = typer.Typer(
    help="Evaluated nightly releases of a searchable knowledge base, and answers from the one that is live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
for part in (demo, stack, migrate, nights, questions, releases, evaluation):
    part.add_to(app)
app.add_typer(knowledge_bases.app, name="kb")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Run the command; exit codes are 0, and those of `cli.output.Exit`."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    set_on_retry_hooks(
        []
    )  # what fails in the end is told; what succeeds at the second attempt is nobody's concern here
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
