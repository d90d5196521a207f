"""The commands `worker`, `scheduler` and `score`, which join `captionguard` by entry point."""

import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from moderation.console import people, print_document, progress
from moderation.errors import InputRefused, TemporaryFault
from moderation.settings import load_settings


class Device(StrEnum):
    """Where CLIP can run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def register(app: typer.Typer) -> None:
    """Add the commands to `captionguard`."""
    app.command()(worker)
    app.command()(scheduler)
    app.command()(score)
    app.command()(bench)


def worker() -> None:
    """Run a worker, which scores submissions.

    It takes messages from Redis and stores verdicts in PostgreSQL. Run as many as needed.
    """
    from celery.bin.celery import celery

    # Celery's own command, since only that hands the exit status on.
    celery.main(
        [
            "-A",
            "workers.app",
            "worker",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def scheduler() -> None:
    """Run the scheduler, which mends losses.

    It sends again what was lost or has waited out a fault. A second one stands by.
    """
    from moderation.logs import configure_logging
    from moderation.metrics import serve_metrics
    from moderation.store import database
    from moderation.wiring import open_services
    from workers.upkeep import run_scheduler

    settings = load_settings()
    configure_logging(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    services = open_services(settings)
    url = serve_metrics(settings, services.metrics.registry, setting="scheduler_metrics_port")
    database.migrate(services.database)
    run_scheduler(services, stop, metrics_url=url)
    services.close()


def score(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An image file.")],
    caption: Annotated[str, typer.Argument(help="Its caption.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Score one pair here and now, without servers."""
    from workers.single import score_once

    settings = load_settings()
    if image.stat().st_size > settings.max_image_bytes:
        raise InputRefused(f"{image} has more than {settings.max_image_bytes} bytes")
    try:
        document = score_once(settings, image.read_bytes(), caption)
    except TemporaryFault as error:
        raise InputRefused(f"{error.detail}; try again") from error
    if as_json:
        print_document(document)
    else:
        _show(document)


def bench(
    model: Annotated[str, typer.Option(help="The model.")] = "ViT-B-32:random",
    images: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="A folder of photos; drawn ones if not given."
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where CLIP runs.")] = Device.AUTO,
    seconds: Annotated[
        float, typer.Option(min=5, help="About how long to measure, or as long as rates need.")
    ] = 120,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Workers of the pipeline; one, or on a GPU one for four cores, four at most.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for tools.")
    ] = False,
) -> None:
    """Measure how fast this machine scores.

    Everything in one run: a naive worker, stock open_clip, our towers, our decoders, the whole
    pipeline on servers of its own. Figures mean most as ratios within one run.
    """
    from workers.bench.figures import table
    from workers.bench.run import run_bench

    settings = load_settings().model_copy(update={"model": model, "device": device.value})
    with progress(quiet=as_json) as bar:
        figures = run_bench(settings, images=images, seconds=seconds, workers=workers, bar=bar)
    if as_json:
        print_document(figures.to_document())
    else:
        people.print(f"{figures.model} on {figures.device}, {figures.images} photos:")
        people.print(table(figures))


def _show(document: dict[str, Any]) -> None:
    if document["score"] is None:
        people.print(Text(f"unscorable ({document['reason']}): {document['detail']}"))
        return
    relation = "below" if document["outcome"] == "flag" else "not below"
    people.print(
        f"{document['outcome']}: match score {document['score']:.3f} is {relation} the threshold "
        f"{document['threshold']:.2f} (cosine {document['cosine']:.4f})"
    )
