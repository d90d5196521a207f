"""One benchmark: all parts, turn by turn, so that a noisy machine hurts all alike."""

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.progress import Progress

from moderation.scoring.model import load_model
from moderation.settings import Settings
from workers.bench import latency, naive, parts, pipeline
from workers.bench.calibration import write_calibration
from workers.bench.figures import Figures, Measured, Setup, conclude
from workers.bench.pairs import PairSource
from workers.bench.rig import Rig
from workers.bench.stock import StockModel
from workers.bench.usage import peak_bytes

_ROUNDS = 5
_SEED = 1
_STOCK_PAIRS = 64
_FEW = 8
# As on a platform: a flag costs more than a pass, since it becomes a case with a copy of its image.
_FLAG_SHARE = 0.05
_IDLE_POSTS, _IDLE_GAP_S = 4, 0.4
# A rate over fewer batches than this says little, whatever `--seconds` is.
_MIN_BATCHES = 6
# Twice as many for several workers, which are as much faster; their files fill a disk.
_MOST_PAIRS = 20_000
_MOST_WORKERS, _CORES_A_WORKER = 4, 4
_GPU_BATCHES = (64, 128, 256)


def run_bench(
    settings: Settings,
    *,
    images: Path | None,
    seconds: float,
    workers: int | None = None,
    bar: Progress,
) -> Figures:
    """Measure everything for about `seconds`, or as long as rates need; starting is not counted.

    The pipeline runs with so many workers, or with as many as `default_workers` says.
    """
    task = bar.add_task("drawing photos" if images is None else "reading photos", total=None)
    source = PairSource.open(images, seed=_SEED)
    with ExitStack() as stack:
        bar.update(task, description="starting servers")
        rig = stack.enter_context(Rig(settings))
        bar.update(task, description="loading the model")
        bench = Bench(settings, rig, source, seconds=seconds, workers=workers)
        bar.update(task, description="starting workers")
        bench.start(stack)
        bar.update(task, total=_ROUNDS * len(bench.parts))
        for number in range(_ROUNDS):
            for name, part in bench.parts.items():
                bar.update(task, description=f"round {number + 1} of {_ROUNDS}: {name}")
                part()
                bar.advance(task)
        setup = bench.setup("drawn" if images is None else str(images))
        return conclude(setup, bench.measured, peak_memory_bytes=bench.peak_bytes())


def default_workers(device: str, cores: int) -> int:
    """Worker processes for the pipeline: one fills a CPU, and on a GPU Python's lock is full first.

    Each needs cores for its decoders.
    """
    if device == "cpu":
        return 1
    return max(1, min(_MOST_WORKERS, cores // _CORES_A_WORKER))


class Bench:
    """The parts of a benchmark, each for one slice of the time."""

    def __init__(
        self,
        settings: Settings,
        rig: Rig,
        source: PairSource,
        *,
        seconds: float,
        workers: int | None = None,
    ) -> None:
        self._settings, self._rig, self._source = settings, rig, source
        # Towers, pipeline and the loaded one take two shares each in a round, or as many as they
        # need; what is left out of a rate comes on top.
        self._slice_s = seconds / (_ROUNDS * 10)
        self._stock = StockModel(settings.model, device=settings.device)
        model = load_model(settings.model, device=settings.device)
        self._device = model.device.type
        cores = len(os.sched_getaffinity(0))
        self._number = workers or default_workers(self._device, cores)
        self._lanes = settings.forward_lanes or (
            max(1, cores // self._number) if self._device == "cpu" else 2
        )
        self._decoders = settings.decode_processes or max(1, cores // self._number)
        # All that the workers have together, or they could be faster than their ceiling.
        self._forward = parts.Forward(model, settings, lanes=self._lanes * self._number)
        self._all_decoders = settings.model_copy(
            update={"decode_processes": settings.decode_processes * self._number}
        )
        self._most_pairs = _MOST_PAIRS * min(2, self._number)
        self._full = settings.max_batch_items * self._lanes * self._number
        self._framing = model.framing
        self._fingerprint = (model.weights_sha256, model.preprocessing_sha256)
        self._naive_per_s = 1.0
        self.measured = Measured()
        self.parts = {
            "naive worker": self._naive_slice,
            "stock open_clip": self._stock_slice,
            "duplicates": self._duplicate_slice,
            # Around the pipeline, which is held against them: the machine may change meanwhile.
            "decoders": self._decode_slice,
            "towers": self._forward_slice,
            "pipeline": self._pipeline_slice,
            "towers, once more": self._forward_slice,
            "decoders, once more": self._decode_slice,
            "latency, idle": self._idle_slice,
            "latency at 80 % load": self._loaded_slice,
        }

    def start(self, stack: ExitStack) -> None:
        """Start the workers of both kinds and let each do something before it is measured."""
        cosines, _ = parts.stock_batch(self._stock, self._source.fresh(_STOCK_PAIRS))
        border = float(np.quantile(cosines, _FLAG_SHARE))
        self.measured.threshold_cosine = border
        calibration = self._rig.folder / "calibration.json"
        write_calibration(calibration, self._settings.model, self._fingerprint, border=border)
        model, device = self._settings.model, self._settings.device
        self._workers = stack.enter_context(
            self._rig.workers(
                self._number,
                calibration,
                {
                    "CAPTIONGUARD_MODEL": model,
                    "CAPTIONGUARD_DEVICE": device,
                    # Several share what the machine has.
                    "CAPTIONGUARD_FORWARD_LANES": str(self._lanes),
                    "CAPTIONGUARD_DECODE_PROCESSES": str(self._decoders),
                    # A plan for an unknown day's traffic would audit hundreds in these minutes; at
                    # this rate an installation audits some in a hundred thousand.
                    "CAPTIONGUARD_AUDIT_BUDGET_PER_DAY": "1",
                    # As this process has chosen, so that all parts compute with the same.
                    "CAPTIONGUARD_PRECISION": self._forward.choice.precision,
                },
            )
        )
        self._naive = stack.enter_context(
            self._rig.naive_worker(
                {"CAPTIONGUARD_BENCH_MODEL": model, "CAPTIONGUARD_BENCH_DEVICE": device}
            )
        )
        self._sender = naive.NaiveSender(self._rig, self._naive)
        photos = self._source.fresh(_FEW)
        self._sender.run(photos[:2])
        self._naive_per_s = self._sender.run(photos)
        pixels, _ = parts.decode(photos, self._framing, self._settings)
        self._forward.run(pixels, photos, seconds=0)
        self._flow(self._full)

    def _naive_slice(self) -> None:
        number = max(_FEW, int(self._slice_s * self._naive_per_s))
        self.measured.naive_per_s.append(self._sender.run(self._source.fresh(number)))

    def _stock_slice(self) -> None:
        """Stock cosines of some pairs, and those that the pipeline stores for the same files."""
        photos = self._source.fresh(_STOCK_PAIRS)
        stock, per_s = parts.stock_batch(self._stock, photos)
        messages = pipeline.store(self._rig, photos)
        pipeline.send(self._rig, messages)
        pipeline.wait_until_done(self._rig, len(photos))
        ours = pipeline.check_scored(pipeline.cosines(self._rig, messages))
        self.measured.stock_per_s.append(per_s)
        self.measured.cosine_pairs += zip(ours, stock, strict=True)

    def _decode_slice(self) -> None:
        per_s = self.measured.decode[-1].per_s if self.measured.decode else 100.0
        photos = self._source.fresh(min(_MOST_PAIRS, int(max(100, per_s * self._slice_s / 2))))
        _, speed = parts.decode(
            photos, self._framing, self._all_decoders, model_device=self._device
        )
        self.measured.decode.append(speed)

    def _forward_slice(self) -> None:
        more = _GPU_BATCHES if self._device == "cuda" else ()
        sizes = sorted({16, 32, self._settings.max_batch_items, *more})
        photos = self._source.fresh(max(sizes))
        pixels, _ = parts.decode(photos, self._framing, self._settings)
        for size in sizes:
            speed = self._forward.run(
                pixels[:size], photos[:size], seconds=self._slice_s / len(sizes)
            )
            self.measured.forward.setdefault(size, []).append(speed)

    def _pipeline_slice(self) -> None:
        flows = self.measured.unique
        per_s = flows[-1].pairs_per_s if flows else 4 * self._naive_per_s
        number = int(2 * self._slice_s * per_s)
        self.measured.unique.append(self._flow(number))

    def _duplicate_slice(self) -> None:
        """As many copies of a few new pairs as make a rate."""
        few = self._source.fresh(_FEW)
        number = 20 * self._full
        copies = [few[index % _FEW] for index in range(number)]
        self.measured.duplicates.append(
            pipeline.run_flow(self._rig, self._workers, copies, left_out=0, turn=self._full)
        )

    def _flow(self, number: int) -> pipeline.Flow:
        # What a worker has taken up ahead, and its last batches, are no steady state.
        left_out = 3 * self._full
        number = min(self._most_pairs, max(_MIN_BATCHES * self._full, number)) + left_out
        photos = self._source.stream(number)
        return pipeline.run_flow(
            self._rig, self._workers, photos, left_out=left_out, turn=self._full
        )

    def _idle_slice(self) -> None:
        photos = self._source.fresh(_IDLE_POSTS)
        self.measured.idle_ms += latency.idle(self._rig, photos, gap_s=_IDLE_GAP_S)

    def _loaded_slice(self) -> None:
        """Single posts that come at random, at 80 % of what the pipeline could in this round."""
        rounds = self.measured.unique
        load = latency.Load.of(rounds[-1].pairs_per_s, seconds=2 * self._slice_s, full=self._full)
        photos = self._source.stream(load.posts)
        self.measured.loaded_ms += latency.open_loop(self._rig, photos, load, seed=len(rounds))

    def peak_bytes(self) -> int:
        """The most memory the workers and their decoders have held."""
        return sum(peak_bytes(worker.pid) for worker in self._workers)

    def setup(self, images: str) -> Setup:
        """What was measured with."""
        return Setup(
            model=self._settings.model,
            device=self._device,
            precision=self._forward.choice.precision,
            images=images,
            lanes=self._lanes,
            workers=self._number,
            max_batch_items=self._settings.max_batch_items,
        )
