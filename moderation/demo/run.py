"""The demo: generated posts through the real pipeline on this machine."""

import time
from collections.abc import Iterator
from threading import Event

from moderation.addresses import read_desk_password
from moderation.client import Client, Post, Sent
from moderation.console import people, progress, results_table, show_summary
from moderation.demo.posts import stream
from moderation.intake import SubmissionIn
from moderation.machine import LOCAL_ACCOUNT, Machine
from moderation.results import Result, result_of, truth_of
from moderation.settings import Settings

_TABLE_ROWS = 24
_SEND_AT_ONCE = 16
# Without a single verdict for so long, something is broken for good.
_PATIENCE_S = 120.0


def run_demo(
    settings: Settings, *, n: int, seed: int, once: bool, stop: Event, quiet: bool
) -> tuple[list[Result], float]:
    """Start everything, judge `n` generated posts, show them; their results and the seconds.

    Without `once` everything stays up until `stop` is set.
    """
    with Machine(settings) as machine:
        if not quiet:
            people.print(
                f"Starting PostgreSQL, Redis, API, worker, scheduler on {settings.data_dir} …"
            )
        machine.wait_until_ready(lambda step: None if quiet else people.print(f"  {step}"), stop)
        started_s = time.monotonic()
        results = _judge(settings, machine, n, seed, stop=stop, quiet=quiet)
        seconds = time.monotonic() - started_s
        if not quiet:
            people.print(results_table(results, most=_TABLE_ROWS))
            if len(results) > _TABLE_ROWS:
                people.print(f"… and {len(results) - _TABLE_ROWS} more.")
            show_summary(results, truth_of(results), seconds=seconds)
            machine.show_addresses(people)
            _show_account(settings, machine)
        if not once and not stop.is_set():
            if not quiet:
                people.print("Everything stays up. Ctrl-C stops it.")
            while not stop.wait(0.5):
                machine.tend()
        elif once and not quiet:
            people.print("Everything ends now; `captionguard up` starts it again with these posts.")
    return results, seconds


def _show_account(settings: Settings, machine: Machine) -> None:
    """Print the way to the desk, where the posts above wait for a person."""
    password = read_desk_password(settings.data_dir)
    if password is not None:
        people.print(
            f"Decide on the flagged ones at {machine.addresses.api_url}/review\n"
            f"  name {LOCAL_ACCOUNT}, password {password}"
        )


def _posts(n: int, seed: int) -> Iterator[Post]:
    # Another run of the demo hands in new posts, so external ids carry the time.
    run = f"demo-{time.time_ns()}"
    for post in stream(seed, n):
        yield Post(
            name=post.image_name,
            submission=SubmissionIn.model_construct(
                caption=post.caption,
                image_base64=post.image,
                external_id=f"{run}-{post.image_name}",
            ),
            label=post.label,
        )


def _judge(
    settings: Settings, machine: Machine, n: int, seed: int, *, stop: Event, quiet: bool
) -> list[Result]:
    sent: list[Sent] = []
    statuses = {}
    deadline_s = time.monotonic() + _PATIENCE_S

    def go_on() -> bool:
        machine.tend()
        return not stop.is_set() and time.monotonic() < deadline_s

    with Client(settings) as client, progress(quiet) as bar:
        sending = bar.add_task("posts sent", total=n)
        judging = bar.add_task("verdicts", total=n)

        def note(status: dict[str, object]) -> None:
            nonlocal deadline_s
            deadline_s = time.monotonic() + _PATIENCE_S
            statuses[status["id"]] = status
            bar.advance(judging)

        for batch in client.send(_posts(n, seed), at_once=_SEND_AT_ONCE):
            sent.extend(batch)
            bar.advance(sending, len(batch))
            if not go_on():
                break
        client.wait([post.id for post in sent], note, go_on=go_on)
    return [result_of(post, statuses.get(post.id)) for post in sent]
