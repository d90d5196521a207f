"""Cases get a copy of their image, whatever becomes of the original, or a sentence why not."""

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psutil
import pytest
from PIL import Image
from sqlalchemy import text
from structlog.testing import capture_logs

from moderation.settings import Settings
from moderation.store import copies
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.copies import Settled
from moderation.types import ImageRef, Outcome, Reason, Verdict
from moderation.wiring import Services
from tests.conftest import Machine, eventually
from tests.integration.conftest import ImageHost, picture
from tests.integration.judged import LEASE, case_of, judged
from workers.copies import Copier
from workers.kept import KeptFiles


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Faults are waited out within the test."""
    return settings.model_copy(update={"retry_base_s": 0.01, "max_attempts": 3})


@contextmanager
def copying(services: Services, kept: KeptFiles | None = None) -> Iterator[Copier]:
    """A worker's copier at work."""
    copier = Copier(services, kept or KeptFiles())
    try:
        yield copier
    finally:
        copier.close()


def woken(copier: Copier) -> bool:
    """Have it look at once."""
    copier.wake()
    return True


def await_copies(services: Services, *ids: UUID) -> list[dict[str, Any]]:
    """Wait until each has a copy, or a reason why not."""

    def settled() -> bool:
        found = [case_of(services, id_) for id_ in ids]
        return all(case["copy_blob"] or case["copy_problem"] for case in found)

    eventually(settled)
    return [case_of(services, id_) for id_ in ids]


def shown(services: Services, case: dict[str, Any]) -> Image.Image:
    """The copy as a picture."""
    return Image.open(io.BytesIO(services.blobs.get(case["copy_blob"])))


def test_a_copy_outlives_its_url(services: Services, image_host: ImageHost) -> None:
    """It is ours: re-encoded, and there when the platform's server is gone."""
    image_host.pages["/a.jpg"] = lambda _: (200, picture((0, 0, 250)))
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/a.jpg"))
    with copying(services):
        (case,) = await_copies(services, id_)
    image_host.pages.clear()
    copy = shown(services, case)
    assert (copy.format, copy.size) == ("JPEG", (96, 80))
    assert case["copy_problem"] is None


def test_a_copy_is_of_what_was_scored(services: Services, image_host: ImageHost) -> None:
    """Where the worker still has the file, nobody is asked again: a URL may show another image."""
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/turns.jpg"))
    image_host.pages["/turns.jpg"] = lambda _: (200, picture((0, 250, 0)))
    kept = KeptFiles()
    kept.keep(id_, picture((250, 0, 0)))
    with copying(services, kept):
        (case,) = await_copies(services, id_)
    red, green, _ = shown(services, case).convert("RGB").getpixel((40, 40))  # type: ignore[misc]
    assert red > 200 > green
    assert image_host.requests == {}


def test_cases_of_one_image_share_a_copy(services: Services, image_host: ImageHost) -> None:
    """The same file or the same bytes by other URLs: one blob, one decoding a file at most."""
    data = picture((1, 2, 3))
    blob = services.blobs.put(data)
    for name in ("/a.jpg", "/b.jpg"):
        image_host.pages[name] = lambda _: (200, data)
    urls = [ImageRef(url=f"{image_host.url}/{name}.jpg") for name in "ab"]
    ids = judged(services, ImageRef(blob=blob), ImageRef(blob=blob), *urls)
    with copying(services):
        cases = await_copies(services, *ids)
    assert len({case["copy_blob"] for case in cases}) == 1
    counted = services.metrics.image_copies
    assert counted.labels("made")._value.get() == 3
    assert counted.labels("shared")._value.get() == 1


def test_an_appeal_shows_the_image_that_was_decided_on(
    services: Services, image_host: ImageHost
) -> None:
    """A later case of a submission has its first copy, also when the URL shows another image."""
    pages = [(250, 0, 0), (0, 0, 250)]
    image_host.pages["/a.jpg"] = lambda count: (200, picture(pages[count - 1]))
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/a.jpg"))
    with copying(services) as copier:
        (first,) = await_copies(services, id_)
        with services.database.begin() as connection:
            add_cases(connection, [NewCase(id_, Route.APPEAL)])
        copier.wake()
        (appeal,) = await_copies(services, id_)
    assert appeal["id"] != first["id"]
    assert appeal["copy_blob"] == first["copy_blob"]


def test_a_url_that_is_reused_has_a_copy_each(services: Services, image_host: ImageHost) -> None:
    """Else whoever shows something harmless first would hide what comes after it."""
    pages = [(250, 0, 0), (0, 0, 250)]
    image_host.pages["/a.jpg"] = lambda count: (200, picture(pages[count - 1]))
    ref = ImageRef(url=f"{image_host.url}/a.jpg")
    (first,) = judged(services, ref)
    with copying(services) as copier:
        (one,) = await_copies(services, first)
        (second,) = judged(services, ref)
        copier.wake()
        (other,) = await_copies(services, second)
    assert one["copy_blob"] != other["copy_blob"]


@pytest.mark.parametrize(
    ("status", "problem"),
    [(404, "gone from where the platform keeps it"), (500, "did not hand the image out")],
)
def test_an_image_that_is_gone_says_so(
    services: Services, image_host: ImageHost, status: int, problem: str
) -> None:
    """At once where it will stay so, after all tries where it might have come back."""
    image_host.pages["/a.jpg"] = lambda _: (status, b"")
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/a.jpg"))
    with copying(services) as copier:
        eventually(lambda: woken(copier) and bool(case_of(services, id_)["copy_problem"]))
    case = case_of(services, id_)
    assert problem in case["copy_problem"]
    assert image_host.requests["/a.jpg"] == (1 if status == 404 else 3)


def test_a_fault_that_passes_is_waited_out(services: Services, image_host: ImageHost) -> None:
    """A host that does not answer once is asked again."""
    image_host.pages["/a.jpg"] = lambda count: (503, b"") if count == 1 else (200, picture())
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/a.jpg"))
    with copying(services) as copier:
        eventually(lambda: woken(copier) and bool(case_of(services, id_)["copy_blob"]))
    assert image_host.requests["/a.jpg"] == 2


def test_what_a_dead_worker_was_copying_another_copies(services: Services) -> None:
    """Its lease runs out, and then it is anybody's; meanwhile it is nobody else's."""
    blob = services.blobs.put(picture())
    (id_,) = judged(services, ImageRef(blob=blob))
    with services.database.begin() as connection:
        (taken,) = copies.take(connection, limit=9, lease=LEASE)
        assert taken.submission_id == id_
    with services.database.begin() as connection:
        assert copies.take(connection, limit=9, lease=LEASE) == []
        connection.execute(text("UPDATE cases SET copy_after = now() - interval '1 s'"))
    with copying(services):
        (case,) = await_copies(services, id_)
    assert case["copy_blob"]


def test_an_image_on_which_workers_die_is_given_up(services: Services) -> None:
    """After as many tries as a submission has, without opening it again."""
    (id_,) = judged(services, ImageRef(blob=services.blobs.put(picture())))
    with services.database.begin() as connection:
        connection.execute(text("UPDATE cases SET copy_attempts = 3"))
    with copying(services):
        (case,) = await_copies(services, id_)
    assert case["copy_blob"] is None
    assert "decoder" in case["copy_problem"]


def test_two_workers_share_the_work(services: Services, image_host: ImageHost) -> None:
    """Each copy is made once, and by whoever has time."""
    image_host.pages.update(
        {f"/{n}.jpg": lambda _, n=n: (200, picture((n, n, n))) for n in range(24)}
    )
    ids = judged(services, *(ImageRef(url=f"{image_host.url}/{n}.jpg") for n in range(24)))
    with copying(services), copying(services):
        cases = await_copies(services, *ids)
    assert services.metrics.image_copies.labels("made")._value.get() == 24
    assert len({case["copy_blob"] for case in cases}) >= 20, "near greys may be one JPEG"
    assert image_host.requests == {f"/{n}.jpg": 1 for n in range(24)}


def test_one_image_keeps_none_of_a_batch(services: Services, image_host: ImageHost) -> None:
    """Broken, gone, away for the moment, or known already: the others have their copies."""
    known, *sound = (ImageRef(blob=services.blobs.put(picture((n, 0, 0)))) for n in range(0, 99, 9))
    (first,) = judged(services, known)
    with copying(services):
        (done,) = await_copies(services, first)
    image_host.pages["/away.jpg"] = lambda count: (503, b"") if count == 1 else (200, picture())
    broken = ImageRef(blob=services.blobs.put(b"no image"))
    gone = ImageRef(blob="e" * 64)
    away = ImageRef(url=f"{image_host.url}/away.jpg")
    ids = judged(services, known, sound[0], broken, sound[1], gone, away, *sound[2:])
    with copying(services) as copier:
        eventually(lambda: woken(copier) and bool(case_of(services, ids[5])["copy_blob"]))
        cases = await_copies(services, *ids)
    assert cases[0]["copy_blob"] == done["copy_blob"]
    problems = [case["copy_problem"] for case in cases]
    assert "no image of a kind" in problems.pop(2)
    assert "gone from our store" in problems.pop(3)
    assert not any(problems)
    assert [case["copy_attempts"] for case in cases] == [1, 1, 1, 1, 1, 2, *[1] * len(sound[2:])]


def test_what_was_judged_is_tried_again(
    services: Services, image_host: ImageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours does not make the copy show what the URL shows by then."""
    image_host.pages["/turns.jpg"] = lambda _: (200, picture((0, 250, 0)))
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/turns.jpg"))
    kept = KeptFiles()
    kept.keep(id_, picture((250, 0, 0)))
    put_off = services.metrics.image_copies.labels("put_off")._value
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere")
        with copying(services, kept):
            eventually(lambda: put_off.get() > 0)
    with copying(services, kept) as copier:
        eventually(lambda: woken(copier) and bool(case_of(services, id_)["copy_blob"]))
    red, green, _ = (
        shown(services, case_of(services, id_)).convert("RGB").getpixel((40, 40))  # type: ignore[misc]
    )
    assert red > 200 > green
    assert image_host.requests == {}
    assert kept.find(id_) is None


@pytest.mark.parametrize("module", ["copy_child", "child", "encoder_child"])
def test_a_process_that_dies_in_the_middle_keeps_nobody_from_a_copy(
    services: Services, module: str
) -> None:
    """Whatever it was at work on is tried again; an image is given up for a fault of its own."""
    blobs = [ImageRef(blob=services.blobs.put(picture((n, n, 9)))) for n in range(0, 99, 9)]
    (first,) = judged(services, blobs[0])
    with copying(services) as copier:
        await_copies(services, first)
        (maker,) = (
            process
            for process in psutil.Process().children()
            if "moderation.media.copy_child" in process.cmdline()
        )
        (process,) = (
            process
            for process in (maker, *maker.children())
            if f"moderation.media.{module}" in process.cmdline()
        )
        process.suspend()
        ids = judged(services, *blobs[1:])
        copier.wake()
        eventually(lambda: all(case_of(services, id_)["copy_attempts"] for id_ in ids))
        process.kill()
        eventually(
            lambda: woken(copier) and all(case_of(services, id_)["copy_blob"] for id_ in ids)
        )
    assert max(case_of(services, id_)["copy_attempts"] for id_ in ids) <= 2


def test_a_copier_that_ends_leaves_the_rest_to_others(
    services: Services, image_host: ImageHost
) -> None:
    """At once, and as if it had never had them: what it has begun it finishes."""
    closing: list[threading.Thread] = []

    def page(_: int) -> tuple[int, bytes]:
        if not closing:
            thread = threading.Thread(target=copier.close)
            thread.start()
            time.sleep(1)
            closing.append(thread)
        return 200, picture()

    image_host.pages.update({f"/{n}.jpg": page for n in range(12)})
    copier = Copier(services, KeptFiles())
    ids = judged(services, *(ImageRef(url=f"{image_host.url}/{n}.jpg") for n in range(12)))
    copier.wake()
    eventually(lambda: bool(closing))
    closing[0].join(60)
    cases = [case_of(services, id_) for id_ in ids]
    made = [case for case in cases if case["copy_blob"]]
    left = [case for case in cases if not case["copy_blob"]]
    assert made
    assert left
    assert {(case["copy_attempts"], case["copy_after"]) for case in left} == {(0, None)}


def test_a_copy_that_cannot_be_noted_is_noted_later(
    services: Services, image_host: ImageHost
) -> None:
    """When PostgreSQL is back; nobody is asked for the image again."""

    def page(_: int) -> tuple[int, bytes]:
        _execute(services, "ALTER TABLE cases RENAME TO cases_elsewhere")
        return 200, picture()

    image_host.pages["/a.jpg"] = page
    (id_,) = judged(services, ImageRef(url=f"{image_host.url}/a.jpg"))
    with capture_logs() as logs, copying(services):
        eventually(lambda: any(entry["event"] == "copies_wait" for entry in logs))
        _execute(services, "ALTER TABLE cases_elsewhere RENAME TO cases")
        (case,) = await_copies(services, id_)
    assert case["copy_attempts"] == 1
    assert image_host.requests == {"/a.jpg": 1}


def test_a_lease_that_was_lost_changes_nothing_but_by_a_copy(services: Services) -> None:
    """A worker that slept through its lease neither ends nor frees what another has now."""
    (id_,) = judged(services, ImageRef(blob="a" * 64))
    with services.database.begin() as connection:
        (slow,) = copies.take(connection, limit=1, lease=LEASE)
        connection.execute(text("UPDATE cases SET copy_after = now() - interval '1 s'"))
    with services.database.begin() as connection:
        (other,) = copies.take(connection, limit=1, lease=LEASE)
    before = case_of(services, id_)
    for late in (
        Settled(slow, problem="gone"),
        Settled(slow, wait=timedelta(seconds=1)),
        Settled(slow, untried=True),
    ):
        with services.database.begin() as connection:
            copies.settle(connection, [late])
        assert case_of(services, id_) == before
    with services.database.begin() as connection:
        copies.settle(connection, [Settled(slow, blob="b" * 64)])
        copies.settle(connection, [Settled(other, blob="c" * 64)])
    assert case_of(services, id_)["copy_blob"] == "b" * 64


def _execute(services: Services, sql: str) -> None:
    with services.database.begin() as connection:
        connection.execute(text(sql))


def test_the_newest_url_comes_first(services: Services) -> None:
    """URLs expire; blobs stay; what failed before waits for all others, and comes alone."""
    blob = ImageRef(blob=services.blobs.put(picture()))
    urls = [ImageRef(url=f"https://example.com/{n}.jpg") for n in "12"]
    failed, old_url, old_blob, new_url, new_blob = (
        judged(services, ref)[0] for ref in (urls[0], urls[0], blob, urls[1], blob)
    )
    with services.database.begin() as connection:
        connection.execute(
            text("UPDATE cases SET copy_attempts = 1 WHERE submission_id = :id"), {"id": failed}
        )
        turns = []
        while taken := copies.take(connection, limit=3, lease=LEASE):
            turns.append([wanted.submission_id for wanted in taken])
    assert turns == [[new_url, old_url, new_blob], [old_blob], [failed]]


def test_a_sound_image_is_shown_though_its_caption_has_no_word(
    services: Services,
) -> None:
    """What could not be scored for its caption can be seen; what is damaged says so at once."""
    sound = ImageRef(blob=services.blobs.put(picture()))
    empty = Verdict(Outcome.UNSCORABLE, "c", "m", 0.35, reason=Reason.CAPTION_EMPTY)
    corrupt = Verdict(Outcome.UNSCORABLE, "c", "m", 0.35, reason=Reason.IMAGE_CORRUPT)
    (seen,), (damaged,) = (judged(services, sound, verdict=v) for v in (empty, corrupt))
    assert "damaged" in case_of(services, damaged)["copy_problem"]
    with copying(services):
        (case,) = await_copies(services, seen)
    assert case["copy_blob"]


def test_a_blob_that_is_gone_says_so(services: Services) -> None:
    """A file that is not what was stored is no image either."""
    (gone,) = judged(services, ImageRef(blob="f" * 64))
    with copying(services):
        (case,) = await_copies(services, gone)
    assert "gone from our store" in case["copy_problem"]


def test_the_running_pipeline_makes_copies(machine: Machine, image_host: ImageHost) -> None:
    """A case of a URL has its copy soon after the verdict, of one single fetch."""
    image_host.pages["/a.jpg"] = lambda _: (200, picture((5, 120, 33)))
    url = f"{image_host.url}/a.jpg"
    body = {"caption": "nine purple trains under water at night", "image_url": url}
    answer = machine.http.post("/v1/submissions", json=body).json()
    verdict = machine.http.get(answer["status_url"], params={"wait_s": 60}).json()["verdict"]
    assert verdict["outcome"] == "flag"
    sql = "SELECT copy_blob FROM cases WHERE submission_id = CAST(:id AS uuid)"
    eventually(lambda: machine.query(sql, id=answer["id"])[0][0] is not None)
    assert image_host.requests["/a.jpg"] == 1
