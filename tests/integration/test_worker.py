"""Workers on a running machine: every submission gets one verdict, whatever it holds."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from moderation.demo.posts import write_labels
from moderation.queue import QUEUE, celery_app
from tests.conftest import Machine, eventually
from tests.integration.conftest import ImageHost, picture

PICTURE = base64.b64encode(picture()).decode()


def judge(machine: Machine, **submission: Any) -> dict[str, Any]:
    """Submit one post and wait for its status."""
    accepted = machine.http.post("/v1/submissions", json=submission)
    assert accepted.status_code == 202, accepted.text
    status = machine.http.get(accepted.json()["status_url"], params={"wait_s": 60}).json()
    assert status["verdict"], "no verdict within 60 s"
    return dict(status)


def send(machine: Machine, document: Any, task_id: str | None = None) -> str:
    """Send the task by name, as a platform with a Celery of its own does."""
    task_id = task_id or str(uuid4())
    with celery_app(machine.addresses["redis_url"]) as app:
        app.send_task("captionguard.score", args=[document], queue=QUEUE, task_id=task_id)
    return task_id


def verdicts_of(machine: Machine, platform: str) -> list[tuple[Any, ...]]:
    """External id, outcome and reason of a platform's verdicts."""
    return machine.query(
        "SELECT external_id, outcome, reason FROM submissions JOIN verdicts"
        " ON submission_id = id WHERE platform = :platform ORDER BY external_id",
        platform=platform,
    )


def test_generated_pairs_are_told_apart(machine: Machine, tmp_path: Path) -> None:
    """Matched and mismatched pairs of the model's world get their verdicts, nearly all right."""
    labels = write_labels(tmp_path, 80, seed=5, held_out=True)
    done = machine.run("submit", str(labels), "--wait", "--json")
    document = json.loads(done.stdout)
    assert document["submitted"] == 80
    assert document["outcomes"]["unscorable"] == document["outcomes"]["refused"] == 0
    assert document["truth"]["n"] == 80
    assert document["truth"]["accuracy"] >= 0.9
    assert all(-1 <= r["cosine"] <= 1 and r["threshold"] == 0.35 for r in document["results"])
    assert [r["external_id"] for r in document["results"]] == [f"scene-{n:04d}" for n in range(80)]


def test_submitting_a_file_twice_judges_once(machine: Machine, tmp_path: Path) -> None:
    """External ids known from before give the same submissions and verdicts."""
    labels = write_labels(tmp_path, 6, seed=6)
    lines = [json.loads(line) for line in labels.read_text().splitlines()]
    run = uuid4().hex
    labels.write_text(
        "\n".join(json.dumps({**line, "external_id": f"{run}-{n}"}) for n, line in enumerate(lines))
    )
    first, second = (
        json.loads(machine.run("submit", str(labels), "--wait", "--json").stdout)["results"]
        for _ in range(2)
    )
    assert first == second


def test_refused_lines_are_reported_in_their_places(machine: Machine, tmp_path: Path) -> None:
    """A wrong line has status 3 and a reason; its neighbours go through, in file order."""
    (tmp_path / "a.jpg").write_bytes(picture())
    lines = [
        json.dumps({"image": "a.jpg", "caption": "one", "external_id": uuid4().hex}),
        '{"image": "missing.jpg", "caption": "two", "external_id": "m"}',
        "{no json",
        '{"image": "a.jpg", "caption": "three", "label": "maybe"}',
        '{"image": "a.jpg", "caption": 4}',
        "[" * 100_000,
        '{"image": "a.jpg", "caption": "five"}',
    ]
    file = tmp_path / "posts.jsonl"
    file.write_text("\n".join(lines))
    done = machine.run("submit", str(file), "--wait", "--json", check=False)
    assert done.returncode == 3
    document = json.loads(done.stdout)
    outcomes = [result["outcome"] for result in document["results"]]
    assert outcomes[1:6] == ["refused"] * 5
    assert "refused" not in (outcomes[0], outcomes[6])
    assert document["results"][1]["external_id"] == "m"
    assert "missing.jpg" in document["results"][1]["reason"]
    assert document["submitted"] == 2


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "caption_empty"),
        (" \n", "caption_empty"),
        ("😀🎉", "caption_emoji_only"),
        ("https://example.com/x", "caption_url_only"),
    ],
)
def test_a_caption_without_words_is_unscorable(machine: Machine, caption: str, reason: str) -> None:
    """What CLIP cannot read is never a silent pass."""
    verdict = judge(machine, caption=caption, image_base64=PICTURE)["verdict"]
    assert (verdict["outcome"], verdict["reason"]) == ("unscorable", reason)
    assert verdict["score"] is None


def test_a_long_caption_is_marked(machine: Machine) -> None:
    """A caption that the model sees only the beginning of is scored and says so."""
    verdict = judge(machine, caption="a red ball " * 200, image_base64=PICTURE)["verdict"]
    assert verdict["notes"] == ["caption_truncated"]
    assert verdict["score"] is not None


def test_an_animation_is_scored_by_its_first_frame(machine: Machine) -> None:
    """An animated GIF is scored and says that only its first frame was."""
    file = BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    encoded = base64.b64encode(file.getvalue()).decode()
    verdict = judge(machine, caption="a red ball", image_base64=encoded)["verdict"]
    assert verdict["notes"] == ["first_frame_only"]


def test_urls_are_fetched(machine: Machine, image_host: ImageHost) -> None:
    """An image on a platform's host is fetched and scored; a missing one is unscorable."""
    image_host.pages["/there.jpg"] = lambda _: (200, picture())
    there = judge(machine, caption="a red ball", image_url=f"{image_host.url}/there.jpg")
    assert there["verdict"]["outcome"] in ("pass", "flag")
    gone = judge(machine, caption="a red ball", image_url=f"{image_host.url}/gone.jpg")
    assert gone["verdict"]["reason"] == "image_not_found"


def test_a_host_that_recovers_is_waited_for(machine: Machine, image_host: ImageHost) -> None:
    """A temporary fault is tried again until it passes."""
    image_host.pages["/flaky.jpg"] = lambda count: (503, b"") if count < 3 else (200, picture())
    status = judge(machine, caption="a red ball", image_url=f"{image_host.url}/flaky.jpg")
    assert status["verdict"]["outcome"] in ("pass", "flag")
    assert image_host.requests["/flaky.jpg"] == 3


def test_a_host_that_stays_broken_becomes_unscorable(
    machine: Machine, image_host: ImageHost
) -> None:
    """After the last try a temporary fault becomes a typed reason, and a person looks."""
    image_host.pages["/broken.jpg"] = lambda _: (500, b"")
    verdict = judge(machine, caption="a ball", image_url=f"{image_host.url}/broken.jpg")["verdict"]
    assert (verdict["outcome"], verdict["reason"]) == ("unscorable", "image_unreachable")
    assert "given up after 4 tries" in verdict["detail"], "as many as the settings say"
    # Whoever copies the case's image may have asked since.
    assert image_host.requests["/broken.jpg"] >= 4


def test_one_bad_item_harms_no_neighbour(machine: Machine) -> None:
    """In one message, broken images and captions leave the good ones alone."""
    broken = base64.b64encode(picture()[:200]).decode()
    noise = base64.b64encode(b"no image at all").decode()
    batch = [
        {"caption": "a red ball", "image_base64": PICTURE},
        {"caption": "a red ball", "image_base64": broken},
        {"caption": "", "image_base64": PICTURE},
        {"caption": "a red ball", "image_base64": noise},
        {"caption": "a red ball", "image_blob": "f" * 64},
    ] * 5
    answer = machine.http.post("/v1/submissions/batch", json={"submissions": batch})
    reasons = [
        machine.http.get(item["status_url"], params={"wait_s": 60}).json()["verdict"]["reason"]
        for item in answer.json()["submissions"]
    ]
    expected = [None, "image_corrupt", "caption_empty", "image_unsupported", "image_not_found"]
    assert reasons == expected * 5


def test_a_platform_sends_the_task_by_name(machine: Machine, image_host: ImageHost) -> None:
    """Without the API, the same JSON in a Celery message gets rows and verdicts, once."""
    image_host.pages["/a.jpg"] = lambda _: (200, picture())
    url = f"{image_host.url}/a.jpg"
    platform = f"direct-{uuid4().hex[:8]}"
    document = {
        "platform": platform,
        "submissions": [
            {"caption": "a red ball", "image_url": url, "external_id": "a"},
            {"caption": "no id of its own", "image_url": url},
            {"caption": "wrong", "image_url": "ftp://example.com/a.jpg", "external_id": "c"},
            {"caption": "bytes", "image_base64": PICTURE, "external_id": "d"},
        ],
    }
    task_id = send(machine, document)
    eventually(lambda: len(verdicts_of(machine, platform)) == 2)
    send(machine, document, task_id)
    send(machine, {"platform": platform, "caption": "", "image_url": url, "external_id": "z"})
    eventually(lambda: len(verdicts_of(machine, platform)) == 3)
    found = verdicts_of(machine, platform)
    assert sorted(row[0] for row in found) == sorted(["a", f"{task_id}:1", "z"])
    assert found[-1][2] == "caption_empty" or found[0][2] == "caption_empty"
    problems = machine.query(
        "SELECT problem FROM refused_messages WHERE message_id = :id", id=task_id
    )
    told = " ".join(str(problem) for (problem,) in problems)
    assert "image_url" in told
    assert "image_base64" in told


def test_garbage_in_the_queue_stops_nobody(machine: Machine) -> None:
    """Messages of no known form are kept with their problem, and work goes on."""
    before = machine.query("SELECT count(*) FROM refused_messages")[0][0]
    for garbage in (None, 7, "text", [], {}, {"submissions": 3}, {"ids": ["no uuid"]}, {"ids": 5}):
        send(machine, garbage)
    judge(machine, caption="a red ball", image_base64=PICTURE)
    eventually(
        lambda: (
            int(str(machine.query("SELECT count(*) FROM refused_messages")[0][0]))
            == int(str(before)) + 8
        )
    )


def test_odd_calls_and_ids_are_kept_and_stop_nobody(machine: Machine) -> None:
    """Two arguments, keywords and ids that no database takes: refused and kept, and beats go on."""
    before = int(str(machine.query("SELECT count(*) FROM refused_messages")[0][0]))
    with celery_app(machine.addresses["redis_url"]) as app:

        def send_oddly(**options: Any) -> None:
            app.send_task("captionguard.score", queue=QUEUE, **options)

        send_oddly(args=[1, 2])
        send_oddly(kwargs={"image": "x"})
        send_oddly(args=[{"caption": 5}], task_id="nul \x00")
        send_oddly(args=[{"caption": 5}], task_id="x" * 5000)
    eventually(
        lambda: int(str(machine.query("SELECT count(*) FROM refused_messages")[0][0])) == before + 4
    )
    judge(machine, caption="a red ball", image_base64=PICTURE)
    eventually(
        lambda: bool(machine.query("SELECT 1 FROM workers WHERE beat_at > now() - interval '2 s'"))
    )


def test_each_submission_has_one_log_line(machine: Machine) -> None:
    """The canonical line names the verdict and how long each stage took."""
    # One that no other test hands in: a known image takes no stages.
    image = BytesIO()
    Image.new("RGB", (90, 70), (12, 34, 56)).save(image, "PNG")
    unseen = base64.b64encode(image.getvalue()).decode()
    status = judge(machine, caption="a blue house", image_base64=unseen)
    lines = [
        json.loads(line)
        for line in (machine.data_dir / "logs" / "worker.log").read_text().splitlines()
        if status["id"] in line
    ]
    (line,) = [line for line in lines if line["event"] == "submission"]
    assert line["outcome"] == status["verdict"]["outcome"]
    assert {"queue_wait_s", "fetch_s", "decode_s", "total_s"} <= set(line)
    assert "caption" not in line, "what people write stays out of the logs"


def test_metrics_tell_what_happened(machine: Machine) -> None:
    """The worker's page has a figure for each stage, outcome and reason."""
    judge(machine, caption="", image_base64=PICTURE)
    judge(machine, caption="a red ball", image_base64=PICTURE)
    url = str(machine.query("SELECT metrics_url FROM workers")[0][0])
    page = httpx.get(url, trust_env=False).text
    for stage in ("queue_wait", "fetch", "decode", "batch_wait", "forward", "persist"):
        assert f'captionguard_stage_duration_seconds_count{{stage="{stage}"}}' in page
    assert 'captionguard_verdicts_total{outcome="unscorable",reason="caption_empty"}' in page
    assert "captionguard_batch_items_bucket" in page
    assert "captionguard_match_score_bucket" in page
    api_page = machine.http.get("/metrics").text
    for name in ("queue_depth", "oldest_pending_age_seconds", "living_workers 1.0"):
        assert f"captionguard_{name}" in api_page


def test_doctor_is_content(machine: Machine) -> None:
    """On a running machine every part works, and the doctor says so in both forms."""
    document = json.loads(machine.run("doctor", "--json").stdout)
    assert document["ok"] is True
    assert {finding["part"] for finding in document["findings"]} >= {
        "model", "image sandbox", "postgresql", "redis", "blobs", "workers",
    }  # fmt: skip
    assert " ok " in machine.run("doctor").stderr


def test_status_shows_a_submission(machine: Machine) -> None:
    """`captionguard status` prints the submission with its verdict."""
    status = judge(machine, caption="a red ball", image_base64=PICTURE)
    document = json.loads(machine.run("status", status["id"], "--json").stdout)
    assert document["verdict"] == status["verdict"]
    assert (document["case"], document["decisions"]) == (status["case"], [])
    assert status["id"] in machine.run("status", status["id"]).stderr
    missing = machine.run("status", str(uuid4()), check=False)
    assert missing.returncode == 1
    assert "no submission" in missing.stderr
