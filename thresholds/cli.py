"""`captionguard thresholds …`, also `python -m thresholds …`."""

import logging
import sys

import typer
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from moderation.console import people
from moderation.errors import CaptionguardError
from thresholds.commands.backtest import backtest
from thresholds.commands.calibrate import calibrate
from thresholds.commands.choose import choose
from thresholds.commands.drift import drift
from thresholds.commands.evaluate import evaluate
from thresholds.commands.history import diff, list_, show
from thresholds.commands.kinds import kinds_app
from thresholds.commands.publish import promote, publish, rollback
from thresholds.commands.report import report

app = typer.Typer(
    help="From labels to a calibrated score and threshold.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(captionguard: typer.Typer) -> None:
    """Add the commands to `captionguard`."""
    captionguard.add_typer(app, name="thresholds")


@app.callback()
def thresholds() -> None:
    """From labels to a calibrated score and threshold."""
    from moderation.logs import configure_logging

    configure_logging("console", level=logging.WARNING)


app.command()(calibrate)
app.command()(choose)
app.command()(evaluate)
app.command()(report)
app.command()(backtest)
app.command()(drift)
app.command()(publish)
app.command()(promote)
app.command()(rollback)
app.command("list")(list_)
app.command()(show)
app.command()(diff)
app.add_typer(kinds_app, name="kinds")


def main() -> None:
    """Run by `python -m thresholds`."""
    try:
        app(prog_name="thresholds")
    except CaptionguardError as error:
        people.print(Text(f"thresholds: {error}"), soft_wrap=True)
        sys.exit(1)
    except SQLAlchemyError as error:
        people.print(
            Text(
                f"thresholds: PostgreSQL does not answer ({type(error).__name__}); "
                "see `captionguard doctor`."
            ),
            soft_wrap=True,
        )
        sys.exit(1)
