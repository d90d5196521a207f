"""`captionguard quality`: precision and recall of live traffic, and what knowing them takes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from moderation.cli_keys import Json, open_database
from moderation.console import people, print_document, printable
from moderation.errors import InputRefused
from moderation.settings import load_settings

if TYPE_CHECKING:
    from moderation.quality.figures import Figures, Quality
    from moderation.quality.words import AuditEffort

quality_app = typer.Typer(invoke_without_command=True)


@quality_app.callback()
def quality(
    context: typer.Context,
    window: Annotated[
        str | None, typer.Option(help="Only of so many days: 1d, 7d or 28d.", metavar="DAYS")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Only of posts of this policy.")] = None,
    as_json: Json = False,
) -> None:
    """Precision and recall of live traffic, each with its interval.

    Measured at this moment, for posts that came in 1, 7 and 28 days before the time that
    answers need (CAPTIONGUARD_QUALITY_LAG_S).
    """
    if context.invoked_subcommand is not None:
        if window is not None or policy is not None or as_json:
            raise typer.BadParameter("options of `plan` come after its name")
        return
    from moderation.quality.documents import to_document
    from moderation.quality.figures import WINDOWS
    from moderation.quality.measure import measure
    from moderation.quality.words import AuditEffort
    from moderation.store import audit_plans

    windows = WINDOWS if window is None else (_days(window),)
    settings = load_settings()
    lag = timedelta(seconds=settings.quality_lag_s)
    autocommit = open_database().execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        figures = measure(connection, now=datetime.now(UTC), lag=lag, windows=windows)
        since = audit_plans.first_at(connection)
    if policy is not None:
        figures = _of_policy(figures, policy)
    if as_json:
        print_document(to_document(figures))
        return
    audited = timedelta(0) if since is None else max(timedelta(0), figures.at - lag - since)
    _show(figures, policy, AuditEffort(settings.audit_budget_per_day, audited / timedelta(days=1)))


@quality_app.command("plan")
def plan(
    prevalence: Annotated[float, typer.Option(help="Share of posts that are mismatches: 0.01.")],
    recall: Annotated[float, typer.Option(help="Share of mismatches that are flagged: 0.9.")],
    within: Annotated[float, typer.Option(help="Half of the interval: 0.05 for ± 5 points.")],
    flag_rate: Annotated[
        float | None, typer.Option(help="Share of posts that are flagged; else the prevalence.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Reckon how many audits a day tell the recall of 28 days so exactly."""
    from moderation.quality.audit_needs import DAYS, AuditNeeds
    from moderation.quality.planning import Traffic

    try:
        if not 0 < within < 1:
            raise ValueError("half of the interval lies in (0, 1)")
        traffic = Traffic(prevalence, recall, prevalence if flag_rate is None else flag_rate)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    needs = AuditNeeds.of(traffic, within, load_settings().audit_budget_per_day)
    if as_json:
        print_document(needs.to_document())
        return
    table = Table(box=None, pad_edge=False)
    for name in ("", "audits a day", f"in {DAYS} days", "the budget set reaches"):
        table.add_column(name, justify="right" if name else "left")
    for name, way in needs.ways.items():
        reach = way.budget_reaches
        told = "–" if reach is None else f"± {100 * reach:.1f} points"
        table.add_row(name, f"{way.a_day:,.0f}", f"{way.audits:,.0f}", told)
    people.print(table)
    _print_sentences(needs.says())


def _of_policy(figures: "Figures", policy: str) -> "Figures":
    """Those of one policy only."""
    from moderation.quality.figures import Figures
    from moderation.quality.measure import MOST_SCOPES

    of = {scope: quality for scope, quality in figures.of.items() if scope.policy == policy}
    if not of:
        names = sorted({scope.policy for scope in figures.of if scope.policy is not None})
        if len(names) >= MOST_SCOPES:
            raise InputRefused(
                f"The policy {policy!r} has no figures of its own: only the {MOST_SCOPES} with "
                "most posts in this time have."
            )
        listed = ", ".join(map(printable, names))
        there = f"there are {listed}" if names else "there are none at all"
        raise InputRefused(f"No post of the policy {policy!r} came in; {there}.")
    return Figures(figures.at, figures.lag, of, figures.agreement)


def _show(figures: "Figures", policy: str | None, effort: "AuditEffort") -> None:
    from moderation.quality.documents import by_name
    from moderation.quality.words import period_says, reading_of, says

    shown = sorted(
        (
            (scope.days, quality)
            for scope, quality in figures.of.items()
            if scope.policy == policy and scope.calibration_version is None
        ),
        key=lambda pair: pair[0],
    )
    if not any(quality.flags + quality.passes for _, quality in shown):
        _print_sentences(
            [
                "Nothing that came in in this time has a score yet, so there is nothing to tell.",
                period_says(figures.at, figures.lag, shown[-1][0]),
            ]
        )
        return
    days, longest = shown[-1]
    people.print(_windows_table(shown))
    people.print()
    sentences = [period_says(figures.at, figures.lag, days), *says(longest, days, effort)]
    reading = reading_of(sentences)
    _print_sentences([*sentences, reading] if reading else sentences)
    if policy is None:
        policies, calibrations = by_name(figures, days)
        for title, each in (("policy", policies), ("calibration", calibrations)):
            if len(each) > 1:
                people.print()
                people.print(_names_table(f"{title}, {_span(days)}", each))


def _windows_table(shown: Sequence[tuple[int, "Quality"]]) -> Table:
    from moderation.quality.words import interval

    table = Table(box=None, pad_edge=False)
    table.add_column("% [95 % interval]")
    for days, _ in shown:
        table.add_column(_span(days), justify="right", no_wrap=True)
    for name in ("precision", "recall", "prevalence", "flag rate", "unsure"):
        estimates = [getattr(quality, name.replace(" ", "_")) for _, quality in shown]
        table.add_row(name, *(interval(estimate) for estimate in estimates))
    for name in ("flags", "answered flags", "passes", "audits", "found misses"):
        counts = [getattr(quality, name.replace(" ", "_")) for _, quality in shown]
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def _names_table(title: str, each: Mapping[str, "Quality"]) -> Table:
    from moderation.quality.words import interval

    table = Table(box=None, pad_edge=False)
    table.add_column(title, overflow="fold")
    for name in ("precision", "recall", "audits", "misses"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, quality in each.items():
        table.add_row(
            Text(printable(name)),
            interval(quality.precision),
            interval(quality.recall),
            f"{quality.audits:,}",
            f"{quality.found_misses:,}",
        )
    return table


def _print_sentences(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        people.print(Text(sentence))


def _span(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _days(window: str) -> int:
    from moderation.quality.figures import WINDOWS

    of = {f"{days}d": days for days in WINDOWS}
    if window not in of:
        raise typer.BadParameter(f"{window!r} is none of 1d, 7d and 28d")
    return of[window]
