"""`captionguard thresholds …`, also `python -m thresholds …`."""

import logging
import sys

import typer
from rich.text import Text

from moderation.console import people
from moderation.errors import CaptionguardError
from thresholds.commands.calibrate import calibrate

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


def main() -> None:
    """Run by `python -m thresholds`."""
    try:
        app(prog_name="thresholds")
    except CaptionguardError as error:
        people.print(Text(f"thresholds: {error}"), soft_wrap=True)
        sys.exit(1)
