"""The figures of a benchmark follow from what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from workers.bench.figures import Measured, Setup, conclude, table
from workers.bench.parts import Speed
from workers.bench.pipeline import Flow, sustained_per_s
from workers.bench.run import default_workers
from workers.bench.usage import WorkerUsage

SETUP = Setup("ViT-B-32:random", "cpu", "bf16", "drawn", lanes=2, workers=1, max_batch_items=64)


def _measured(verdicts: tuple[int, ...] = (1000,)) -> Measured:
    usage = WorkerUsage(
        worker_s=20.0, forward_s=15.0, decode_s=3.0, children_s=5.0, verdicts=verdicts
    )
    return Measured(
        naive_per_s=[7.0, 8.0, 100.0],
        stock_per_s=[10.0],
        forward={64: [Speed(100.0, 0.02)], 16: [Speed(120.0, 0.016)]},
        decode=[Speed(400.0, 0.004)],
        unique=[Flow(1000, 80.0, 70.0, usage)],
        duplicates=[Flow(1000, 5000.0, 4000.0, usage)],
        idle_ms=[60.0, 50.0, 2000.0],
        loaded_ms=[5000.0 + each for each in range(101)],
        cosine_pairs=[(0.10, 0.101), (0.30, 0.297), (0.199, 0.201)],
        threshold_cosine=0.2,
    )


def test_ratios_are_of_one_run() -> None:
    """Medians are compared, a noisy round does not count, and the ceiling is of CPU time."""
    figures = conclude(SETUP, _measured(), peak_memory_bytes=1)
    assert figures.naive_pairs_per_s == 8.0
    assert figures.pipeline_over_naive == 10.0
    assert figures.forward_pairs_per_s == 120.0
    assert figures.forward_batch_items == 16
    assert figures.ceiling_pairs_per_s == pytest.approx(figures.cores / 0.020)
    assert figures.pipeline_over_ceiling == pytest.approx(80 / figures.ceiling_pairs_per_s)
    assert figures.queue_us_per_item == pytest.approx(2000)
    assert figures.duplicate_cost_ratio == pytest.approx(80 / 4000)
    assert figures.full_batch_ms == pytest.approx(1280)
    assert figures.latency_ms == {"p50": 5050, "p99": pytest.approx(5099)}
    assert figures.latency_idle_ms == 60
    assert figures.max_abs_cosine_drift == pytest.approx(0.003)
    assert figures.verdict_flips == 1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_pipeline_is_held_against_the_ceiling_of_its_own_round(device: str) -> None:
    """A machine that is slow for one round changes nothing, since all parts are slow in it.

    Nor does a size of batches that was lucky in one round.
    """
    usage = _measured().unique[0].usage
    measured = _measured()
    measured.forward = {
        16: [Speed(70.0, 0.020), Speed(40.0, 0.050), Speed(40.0, 0.050)],
        64: [Speed(50.0, 0.036), Speed(100.0, 0.016), Speed(100.0, 0.016)],
    }
    measured.decode = [Speed(400.0, 0.004)] * 3
    per_s = [0.95 * 50, 0.9 * 100, 0.97 * 100]
    measured.unique = [Flow(1000, each, each, usage) for each in per_s]
    setup = replace(SETUP, device=device)
    figures = conclude(setup, measured, peak_memory_bytes=1)
    share = figures.cores / 2 if device == "cpu" else 1
    assert figures.ceiling_pairs_per_s == pytest.approx(share * 100)
    assert figures.pipeline_over_ceiling == pytest.approx(0.95 / share)


def test_what_was_measured_before_and_after_a_pipeline_is_its_ceiling() -> None:
    """Their mean: a machine that became slower meanwhile was so for half of the time."""
    measured = _measured()
    fast, slow = Speed(100.0, 0.016), Speed(50.0, 0.036)
    measured.forward = {64: [fast, slow, fast, fast]}
    measured.decode = [Speed(400.0, 0.004)] * 4
    measured.unique *= 2
    figures = conclude(SETUP, measured, peak_memory_bytes=1)
    ceilings = [figures.cores * 37.5, figures.cores * 50]
    assert figures.ceiling_pairs_per_s == pytest.approx(sum(ceilings) / 2)
    assert figures.pipeline_over_ceiling == pytest.approx(sum(80 / c for c in ceilings) / 2)


@pytest.mark.parametrize(("decoded_per_s", "ceiling"), [(400.0, 120.0), (90.0, 90.0)])
def test_on_a_gpu_the_slower_part_is_the_ceiling(decoded_per_s: float, ceiling: float) -> None:
    """Decoders and towers have hardware of their own there."""
    setup = Setup("m", "cuda", "bf16", "drawn", lanes=2, workers=1, max_batch_items=64)
    measured = _measured()
    measured.decode = [Speed(decoded_per_s, 0.004)]
    figures = conclude(setup, measured, peak_memory_bytes=1)
    assert figures.ceiling_pairs_per_s == ceiling


def test_several_workers_share_what_is_measured() -> None:
    """Their CPU is one sum, a batch in each of their lanes is full, and each has its share."""
    setup = Setup("m", "cuda", "bf16", "drawn", lanes=2, workers=4, max_batch_items=64)
    figures = conclude(setup, _measured((400, 300, 300, 0)), peak_memory_bytes=1)
    assert figures.workers == 4
    assert figures.worker_shares == [0.4, 0.3, 0.3, 0.0]
    assert figures.queue_us_per_item == pytest.approx(2000)
    assert figures.full_batch_ms == pytest.approx(4 * 1280)


@pytest.mark.parametrize(
    ("device", "cores", "expected"),
    [
        ("cpu", 64, 1),
        ("cuda", 1, 1),
        ("cuda", 3, 1),
        ("cuda", 8, 2),
        ("cuda", 16, 4),
        ("cuda", 64, 4),
    ],
)
def test_a_gpu_gets_several_workers(device: str, cores: int, expected: int) -> None:
    """As many as cores can feed, four at most; a CPU is filled by one."""
    assert default_workers(device, cores) == expected


def test_the_table_fits_a_terminal() -> None:
    """People with 80 columns read it without wrapped lines."""
    figures = conclude(SETUP, _measured(), peak_memory_bytes=10**9)
    console = Console(width=80, record=True)
    console.print(table(figures))
    lines = console.export_text().splitlines()
    assert len(lines) == len([line for line in lines if line[:10].strip()])


@given(
    per_s=st.floats(20, 500),
    batches=st.integers(12, 40),
    batch=st.integers(1, 64),
    started_s=st.floats(0, 10),
)
def test_starting_up_does_not_count(
    per_s: float, batches: int, batch: int, started_s: float
) -> None:
    """Batches committed at an even pace have that pace as their rate, however late the first is."""
    times_s = 1e9 + started_s + np.repeat(np.arange(batches) * batch / per_s, batch)
    rate = sustained_per_s(times_s, left_out=3 * batch, turn=batch)
    assert rate == pytest.approx(per_s, rel=1e-3)


def test_running_dry_does_not_count() -> None:
    """What comes after the queue is empty may be as slow as it likes."""
    even_s = np.arange(100) / 10
    times_s = np.concatenate([even_s, 10 + np.arange(20.0)])
    assert sustained_per_s(times_s, left_out=20, turn=8) == pytest.approx(10)


@given(place=st.integers(8, 92), stop_s=st.floats(0, 10))
def test_a_stop_counts_wherever_it_comes(place: int, stop_s: float) -> None:
    """Time in which nothing is done is time, but for a turn's at the start and at the end."""
    times_s = np.arange(100) / 10 + stop_s * (np.arange(100) >= place)
    rate = sustained_per_s(times_s, left_out=0, turn=8)
    assert rate == pytest.approx(92 / (9.2 + stop_s))


@given(phase=st.floats(0, 1), left_out=st.integers(256, 448))
def test_which_lane_is_first_does_not_count(phase: float, left_out: int) -> None:
    """Two lanes that commit a batch every two seconds have one rate, however far they are apart."""
    starts_s = 2 * np.arange(9.0)
    times_s = np.sort(np.repeat(np.concatenate([starts_s, starts_s + 2 * phase]), 64))
    rate = sustained_per_s(times_s, left_out=left_out, turn=128)
    assert rate == pytest.approx(64)


def test_few_commits_have_a_rate_as_well() -> None:
    """Of less than two turns all are counted, from end to end."""
    assert sustained_per_s(np.array([5.0, 5.0, 7.0]), left_out=2, turn=64) == pytest.approx(1.5)
    assert sustained_per_s(np.array([5.0, 6.0]), left_out=0, turn=64) == pytest.approx(2.0)


@given(at_once=st.integers(1, 400))
def test_many_commits_at_once_are_no_faster(at_once: int) -> None:
    """A hundred pairs a second are that, also where more come at once than lanes hold."""
    times_s = np.repeat(np.arange(1, 13) * at_once / 100, at_once)
    assert sustained_per_s(times_s, left_out=0, turn=at_once) == pytest.approx(100)
    assert sustained_per_s(times_s, left_out=0, turn=1) == pytest.approx(100)
