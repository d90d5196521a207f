"""The figures of a benchmark, what follows from them, and the table that people read."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from rich.table import Table

from workers.bench.parts import Speed
from workers.bench.pipeline import Flow

_PACKAGES = ("captionguard", "torch", "open_clip_torch", "celery", "pillow")


@dataclass(slots=True)
class Measured:
    """What the rounds of a run have shown: rates of each, and how long each post waited.

    The figures are medians over the rounds, or percentiles of all posts.
    """

    naive_per_s: list[float] = field(default_factory=list)
    stock_per_s: list[float] = field(default_factory=list)
    forward: dict[int, list[Speed]] = field(default_factory=dict)
    decode: list[Speed] = field(default_factory=list)
    unique: list[Flow] = field(default_factory=list)
    duplicates: list[Flow] = field(default_factory=list)
    idle_ms: list[float] = field(default_factory=list)
    loaded_ms: list[float] = field(default_factory=list)
    cosine_pairs: list[tuple[float, float]] = field(default_factory=list)
    threshold_cosine: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One benchmark; rates are a second, `_ms` milliseconds, `_us` CPU microseconds."""

    model: str
    device: str
    precision: str
    images: str
    cores: int
    lanes: int
    workers: int
    max_batch_items: int
    naive_pairs_per_s: float
    stock_batch_pairs_per_s: float
    forward_pairs_per_s: float
    forward_batch_items: int
    decode_images_per_s: float
    ceiling_pairs_per_s: float
    pipeline_pairs_per_s: float
    pipeline_over_ceiling: float
    pipeline_over_naive: float
    queue_us_per_item: float
    worker_shares: list[float]
    duplicate_cost_ratio: float
    full_batch_ms: float
    latency_ms: dict[str, float]
    latency_idle_ms: float
    max_abs_cosine_drift: float
    verdict_flips: int
    compared_pairs: int
    peak_memory_bytes: int
    machine: dict[str, Any]
    versions: dict[str, str]

    def to_document(self) -> dict[str, Any]:
        """The document of `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run measured with; `lanes` are those of each of the `workers`."""

    model: str
    device: str
    precision: str
    images: str
    lanes: int
    workers: int
    max_batch_items: int


def conclude(setup: Setup, measured: Measured, *, peak_memory_bytes: int) -> Figures:
    """Work out the figures of a run."""
    cores = len(os.sched_getaffinity(0))
    batch, forward_per_s = max(
        ((items, median(s.per_s for s in speeds)) for items, speeds in measured.forward.items()),
        key=lambda best: best[1],
    )
    decode_per_s = median(speed.per_s for speed in measured.decode)
    ceilings = _ceilings(setup, measured, cores)
    naive, pipeline = median(measured.naive_per_s), median(f.pairs_per_s for f in measured.unique)
    full = median(speed.per_s for speed in measured.forward[setup.max_batch_items])
    border = measured.threshold_cosine
    return Figures(
        model=setup.model,
        device=setup.device,
        precision=setup.precision,
        images=setup.images,
        cores=cores,
        lanes=setup.lanes,
        workers=setup.workers,
        max_batch_items=setup.max_batch_items,
        naive_pairs_per_s=naive,
        stock_batch_pairs_per_s=median(measured.stock_per_s),
        forward_pairs_per_s=forward_per_s,
        forward_batch_items=batch,
        decode_images_per_s=decode_per_s,
        ceiling_pairs_per_s=median(ceilings),
        pipeline_pairs_per_s=pipeline,
        # Round by round: a machine that is slow for a minute is so for all parts of a round.
        pipeline_over_ceiling=median(
            flow.pairs_per_s / ceiling
            for flow, ceiling in zip(measured.unique, ceilings, strict=True)
        ),
        pipeline_over_naive=pipeline / naive,
        queue_us_per_item=1e6 * median(f.usage.queue_s / f.pairs for f in measured.unique),
        worker_shares=_shares(measured.unique),
        duplicate_cost_ratio=pipeline / median(f.all_per_s for f in measured.duplicates),
        full_batch_ms=1000 * setup.max_batch_items * setup.lanes * setup.workers / full,
        latency_ms={
            "p50": median(measured.loaded_ms),
            "p99": float(np.percentile(measured.loaded_ms, 99)),
        },
        latency_idle_ms=median(measured.idle_ms),
        max_abs_cosine_drift=max(abs(ours - stock) for ours, stock in measured.cosine_pairs),
        verdict_flips=sum(
            (ours < border) != (stock < border) for ours, stock in measured.cosine_pairs
        ),
        compared_pairs=len(measured.cosine_pairs),
        peak_memory_bytes=peak_memory_bytes,
        machine={"processor": _processor(), "cores": cores, "system": platform.platform()},
        versions={name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
    )


def _ceilings(setup: Setup, measured: Measured, cores: int) -> list[float]:
    """What towers and decoders allowed together in each round, pairs a second.

    A mean, where they were measured both before and after a round's pipeline. With one size of
    batches for all rounds: the best of a round would be its luckiest measurement.
    """
    sizes = measured.forward.values()
    if setup.device == "cpu":
        # Both run on the same cores, so a pair costs the sum of their CPU time.
        cheapest = min(sizes, key=lambda speeds: median(speed.cpu_s for speed in speeds))
        ceilings = [
            cores / (forward.cpu_s + decode.cpu_s)
            for forward, decode in zip(cheapest, measured.decode, strict=True)
        ]
    else:
        fastest = max(sizes, key=lambda speeds: median(speed.per_s for speed in speeds))
        ceilings = [
            min(forward.per_s, decode.per_s)
            for forward, decode in zip(fastest, measured.decode, strict=True)
        ]
    in_a_round = len(ceilings) // len(measured.unique)
    return [
        mean(ceilings[start : start + in_a_round]) for start in range(0, len(ceilings), in_a_round)
    ]


def _shares(flows: Sequence[Flow]) -> list[float]:
    """What part of the verdicts each worker has stored."""
    counts = [sum(each) for each in zip(*(flow.usage.verdicts for flow in flows), strict=True)]
    return [count / max(1, sum(counts)) for count in counts]


def table(figures: Figures) -> Table:
    """The figures for people, each with what it says."""
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column()
    f, lanes = figures, figures.lanes * figures.workers
    for value, meaning in (
        (f"{f.naive_pairs_per_s:.1f}/s", "naive: one pair a Celery task, stock open_clip, fp32"),
        (f"{f.stock_batch_pairs_per_s:.1f}/s", "stock open_clip, fp32, in batches, no pipeline"),
        (
            f"{f.forward_pairs_per_s:.1f}/s",
            f"our towers alone ({f.precision}, {lanes} lanes of {f.forward_batch_items} pairs)",
        ),
        (f"{f.decode_images_per_s:.0f}/s", "images decoded in the sandbox, nothing else"),
        (f"{f.ceiling_pairs_per_s:.1f}/s", "ceiling: what towers and decoders allow together"),
        (
            f"{f.pipeline_pairs_per_s:.1f}/s",
            "pipeline, from Redis to the committed verdict"
            + (f", {f.workers} workers" if f.workers > 1 else ""),
        ),
        (f"{f.pipeline_over_ceiling:.2f}", "of the ceiling"),
        (f"{f.pipeline_over_naive:.1f}", "times the naive worker"),
        (f"{f.queue_us_per_item:.0f} us", "of a worker's CPU an item outside decode and towers"),
        (f"{f.duplicate_cost_ratio:.3f}", "of a pair's cost, where image and caption are known"),
        (f"{f.latency_idle_ms:.0f} ms", "from sending to the verdict, nothing else to do"),
        (f"{f.latency_ms['p50']:.0f} ms", "the same at 80 % of capacity, half of all posts"),
        (
            f"{f.latency_ms['p99']:.0f} ms",
            f"the same, 99 of 100 posts (a full batch takes {f.full_batch_ms:.0f} ms)",
        ),
        (
            f"{f.max_abs_cosine_drift:.4f}",
            f"largest drift of a cosine from stock fp32, in {f.compared_pairs} pairs",
        ),
        (str(f.verdict_flips), "verdicts that differ from stock fp32's"),
        (f"{f.peak_memory_bytes / 2**30:.1f} GiB", "most memory of workers and their decoders"),
    ):
        rows.add_row(value, meaning)
    return rows


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
