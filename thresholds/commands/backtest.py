"""`captionguard thresholds backtest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from moderation.console import people, print_document, progress

if TYPE_CHECKING:
    from moderation.quality.shares import Estimate
    from thresholds.backtest import Backtest


def backtest(
    candidate: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A calibration.")],
    since: Annotated[str, typer.Option(help="A span before now, or a date.")] = "28d",
    until: Annotated[str | None, typer.Option(help="Now, if not given.")] = None,
    policy: Annotated[str | None, typer.Option(help="Only this stream; all if not given.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Try a calibration on past traffic.

    Judges the stored cosines of a period again, without images or a GPU: who would be
    flagged or passed instead, how many more reviews that is and, where moderators have
    decided, what becomes of precision and recall. Passed submissions have decisions only
    where an audit drew them.
    """
    import datetime as dt
    import time

    from moderation import addresses
    from moderation.periods import read_moment
    from moderation.settings import load_settings
    from moderation.store import database
    from moderation.store.history import Period
    from thresholds.artifact import read_artifact
    from thresholds.backtest import backtest as judge_again

    started_s = time.perf_counter()
    now = dt.datetime.now(dt.UTC)
    period = Period(
        read_moment(since, now=now), read_moment(until, now=now) if until else now, policy
    )
    if period.since >= period.until:
        raise typer.BadParameter("--since must be before --until")
    artifact = read_artifact(candidate)
    engine = database.connect(addresses.database_url(load_settings()))
    with (
        progress(quiet=as_json) as bar,
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
    ):
        reading = bar.add_task("verdicts judged again", total=None, visible=False)
        done = judge_again(
            connection,
            artifact,
            period,
            on_total=lambda total: bar.update(reading, total=total, visible=True),
            on_read=lambda count: bar.advance(reading, count),
        )
    engine.dispose()
    seconds = time.perf_counter() - started_s
    if as_json:
        head = {"candidate": artifact.version, "model": artifact.fingerprint}
        print_document(
            head | {"threshold": artifact.threshold, "seconds": seconds} | done.to_document()
        )
    else:
        _show(done, seconds)


def _show(done: "Backtest", seconds: float) -> None:
    from thresholds.estimates import NAMES

    people.print(
        f"{done.verdicts:,} verdicts of {done.days:.1f} days judged again in {seconds:.1f} s"
    )
    for model, count in done.other_models.items():
        people.print(Text(f"  left out: {count:,} by another model, {model}"))
    table = Table(box=None, pad_edge=False)
    for name in ("", "verdicts", "share", "decided", "mismatches"):
        table.add_column(name, justify="right" if name else "left")
    for cell, name in NAMES.items():
        count = done.counts[cell]
        table.add_row(
            name,
            f"{count:,}",
            f"{count / done.verdicts:.2%}",
            f"{done.decided[cell]:,}",
            f"{done.mismatches[cell]:,}",
        )
    table.add_row(
        "unscorable", f"{done.unscorable:,}", f"{done.unscorable / done.verdicts:.2%}", "", ""
    )
    people.print(table)
    extra = (done.newly_flagged - done.newly_passed) / done.days
    people.print(f"extra reviews a day: {extra:+,.1f}")
    before, after = done.before, done.after
    people.print(
        f"flag rate: {before.flagged / done.verdicts:.2%} before, "
        f"{after.flagged / done.verdicts:.2%} with the candidate"
    )
    for name, was, now in (
        ("precision", before.precision, after.precision),
        ("recall", before.recall, after.recall),
    ):
        people.print(f"{name}:")
        people.print(f"  before: {_told(was)}")
        people.print(f"  with the candidate: {_told(now)}")


def _told(estimate: "Estimate") -> str:
    if estimate.point is None:
        return f"not known: {estimate.reason}"
    return f"{estimate.point:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"
