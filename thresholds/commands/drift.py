"""`captionguard thresholds drift`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document, progress

if TYPE_CHECKING:
    from thresholds.drift import Level
    from thresholds.windows import Window


def drift(
    calibration: Annotated[
        str | None,
        typer.Option(help="A file or published version; the one in use if not given."),
    ] = None,
    window: Annotated[str, typer.Option(help="Until now; the one before is shown too.")] = "1d",
    policy: Annotated[str | None, typer.Option(help="Only this stream; all if not given.")] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of mismatches; fitted if not given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """See whether traffic has moved away.

    Compares the cosines of a window with those that the calibration was made from: by PSI
    over ten bins, and by how many standard deviations they have moved. A share of mismatches
    that changes is no drift; look at the flag rate for that.
    """
    import datetime as dt

    from moderation import addresses
    from moderation.periods import read_span
    from moderation.settings import load_settings
    from moderation.store import database
    from moderation.store.history import Period
    from thresholds.drift import level_of
    from thresholds.versions import find
    from thresholds.windows import look_at, look_at_live

    span, now = read_span(window), dt.datetime.now(dt.UTC)
    settings = load_settings()
    engine = database.connect(addresses.database_url(settings))
    named = find(calibration, engine) if calibration is not None else None
    looked = []
    with progress(quiet=as_json) as bar, engine.connect() as connection:
        looking = bar.add_task("windows", total=2)
        for until in (now, now - span):
            period = Period(until - span, until, policy)
            looked.append(
                look_at_live(connection, period, settings, prevalence=prevalence)
                if named is None
                else look_at(connection, period, named.artifact, prevalence=prevalence)
            )
            bar.advance(looking)
    engine.dispose()
    latest, before = looked
    level = level_of(latest.drift, before.drift)
    if as_json:
        head = {"level": level.value if level else None, "policy": policy, "window": window}
        print_document(head | latest.to_document() | {"before": before.to_document()})
    else:
        _show(latest, before, level)


def _show(latest: "Window", before: "Window", level: "Level | None") -> None:
    from thresholds.drift import PAGE_PSI, WARN_PSI, Level

    table = Table(box=None, pad_edge=False)
    for name in ("", "this window", "the one before"):
        table.add_column(name, justify="right" if name else "left")
    both = (latest, before)
    table.add_row("scored verdicts", *(f"{w.drift.items:,}" for w in both))
    table.add_row("PSI", *(_number(w.drift.psi) for w in both))
    table.add_row("  by chance alone, about", *(_number(w.drift.psi_by_chance) for w in both))
    table.add_row("moved, in standard deviations", *(_number(w.drift.wasserstein) for w in both))
    table.add_row("share of mismatches", *(_number(w.drift.prevalence) for w in both))
    table.add_row("flag rate", *(_number(w.rates.flag_rate) for w in both))
    table.add_row("unscorable rate", *(_number(w.rates.unscorable_rate) for w in both))
    table.add_row("captions cut", *(_number(w.rates.caption_truncated_rate) for w in both))
    people.print(table)
    if latest.calibration_version is not None:
        people.print(Text(f"against the calibration {latest.calibration_version}"))
    if len(latest.rates.models) > 1:
        people.print(Text(f"verdicts come from several models: {', '.join(latest.rates.models)}"))
    if level is None:
        people.print(Text(f"nothing can be said: {latest.drift.reason}"))
    elif level is Level.STEADY:
        people.print(f"steady: warned from a PSI of {WARN_PSI} that chance does not explain")
    elif level is Level.WARN:
        people.print(f"WARN: above {WARN_PSI}. Look at samples; calibrate anew if it stays.")
    else:
        people.print(f"PAGE: above {PAGE_PSI} in two windows running. Calibrate anew.")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
