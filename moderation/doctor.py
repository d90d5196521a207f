"""Examines a set-up: what works, what does not, and what to do about it."""

import importlib.util
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moderation.api.health import check_parts
from moderation.demo import MODEL_CALIBRATION, MODEL_NAME
from moderation.errors import CaptionguardError
from moderation.media.decode import sandbox_report
from moderation.published import Publication
from moderation.settings import Settings
from moderation.store import calibrations, refused, submissions, workers
from moderation.types import DEFAULT_POLICY
from moderation.wiring import Services, open_services

_LEAST_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the set-up, its state, and the advice if it does not work."""

    part: str
    ok: bool
    state: str
    advice: str | None = None

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return {"part": self.part, "ok": self.ok, "state": self.state, "advice": self.advice}


def examine(settings: Settings) -> list[Finding]:
    """Examine everything, in the order in which one part needs the one before."""
    findings = [_device(settings), _decoder(), _disk(settings)]
    try:
        services = open_services(settings)
    except CaptionguardError as error:
        missing = Finding("servers", False, "not found", str(error))
        return [_model(settings, is_published=False), *findings, missing]
    parts = check_parts(services)
    advice = {
        "postgresql": "Check CAPTIONGUARD_DATABASE_URL; `captionguard migrate` makes the tables.",
        "redis": "Check CAPTIONGUARD_REDIS_URL and that the server runs.",
        "blobs": "Check CAPTIONGUARD_BLOB_URL and its credentials.",
    }
    for part, state in parts.items():
        findings.append(
            Finding(part, state == "ok", state, None if state == "ok" else advice[part])
        )
    is_published = False
    if parts["postgresql"] == "ok":
        with services.database.connect() as connection:
            current = calibrations.current(connection)
        is_published = any(entry.state.live_version for entry in current.values())
        findings += [_workers(services, current), _published(current)]
        findings += [_pending(services), _refused(services)]
    if parts["redis"] == "ok":
        depth = services.queue.depth_messages()
        findings.append(Finding("queue", True, f"{depth} messages wait in Redis"))
    services.close()
    return [_model(settings, is_published=is_published), *findings]


def _model(settings: Settings, *, is_published: bool) -> Finding:
    missing = [name for name in ("torch", "open_clip") if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            "model", False, f"{', '.join(missing)} missing", "Install captionguard again."
        )
    is_demo = settings.model == MODEL_NAME
    path = settings.calibration_file or (MODEL_CALIBRATION if is_demo else None)
    advice = (
        "Make one with `captionguard thresholds calibrate`, and set CAPTIONGUARD_CALIBRATION_FILE "
        "or publish it."
    )
    if path is None and is_published:
        return Finding("model", True, f"{settings.model}, with what is published")
    if path is None:
        return Finding("model", False, f"{settings.model} has no calibration", advice)
    try:
        made_for = json.loads(path.read_bytes())["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("model", False, f"{path} cannot be read as a calibration", advice)
    if is_demo:
        return Finding(
            "model",
            True,
            "demo-tiny, which knows only its generated world",
            "For real posts set CAPTIONGUARD_MODEL and a calibration of it.",
        )
    # The worker compares the weights themselves; a name may differ and mean the same.
    return Finding("model", True, f"{settings.model}, calibrated as {made_for}")


def _device(settings: Settings) -> Finding:
    import torch

    found = "CUDA, " + torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if settings.device == "cuda" and not torch.cuda.is_available():
        return Finding("device", False, "no GPU seen", "Set CAPTIONGUARD_DEVICE to auto.")
    return Finding("device", True, f"{found}, {os.cpu_count()} cores")


def _decoder() -> Finding:
    report = sandbox_report()
    if not report.missing:
        return Finding("image sandbox", True, "all protections are active")
    return Finding(
        "image sandbox",
        True,
        f"without {', '.join(report.missing)}",
        "This kernel or this container does not offer them; the other protections are active.",
    )


def _disk(settings: Settings) -> Finding:
    folder = (
        settings.data_dir if settings.data_dir.exists() else settings.data_dir.absolute().parent
    )
    free = shutil.disk_usage(folder).free
    ok = free >= _LEAST_FREE_BYTES
    state = f"{free / 2**30:.0f} GiB free for {settings.data_dir}"
    return Finding(
        "disk", ok, state, None if ok else "Make room: PostgreSQL stops when it is full."
    )


def _workers(services: Services, current: Mapping[str, Publication]) -> Finding:
    with services.database.connect() as connection:
        alive = workers.living(connection, lease_s=services.settings.lease_s)
    if not alive:
        return Finding("workers", False, "none beats", "Start one with `captionguard worker`.")
    newest = max((entry.id for entry in current.values()), default=0)
    behind = sum((worker.publication or 0) < newest for worker in alive)
    if behind:
        return Finding(
            "workers",
            False,
            f"{len(alive)} beat, {behind} do not act on what was published last",
            "Look for publication_refused in their logs, which says why.",
        )
    versions = {worker.calibration_version for worker in alive}
    ok = len(versions) == 1
    state = f"{len(alive)} beat, calibration {', '.join(sorted(versions))}"
    return Finding("workers", ok, state, None if ok else "Give all workers the same calibration.")


def _published(current: Mapping[str, Publication]) -> Finding:
    """What is live for which policy; where nothing is, workers have their own."""
    told = []
    for policy, entry in sorted(current.items(), key=lambda e: (e[0] != DEFAULT_POLICY, e[0])):
        live, candidate = entry.state.live_version, entry.state.candidate_version
        if live or candidate:
            trial = f" and {candidate} on trial" if candidate else ""
            told.append(f"{policy} has {live or 'no own'}{trial}")
    state = "; ".join(told) or "nothing; workers judge by what they were started with"
    return Finding("published", True, state)


def _pending(services: Services) -> Finding:
    limit = services.settings.queue_limit_items
    with services.database.connect() as connection:
        pending = submissions.count_pending(connection, at_most=limit)
        age_s = submissions.oldest_pending_age_s(connection)
    state = f"{pending} without a verdict, the oldest for {age_s:.0f} s"
    ok = pending < limit
    return Finding("submissions", ok, state, None if ok else "Start more workers.")


def _refused(services: Services) -> Finding:
    with services.database.connect() as connection:
        count = refused.count(connection)
    if not count:
        return Finding("messages", True, "none was refused")
    return Finding(
        "messages",
        True,
        f"{count} parts of messages were refused and kept",
        "See the table refused_messages for what is wrong with them.",
    )
