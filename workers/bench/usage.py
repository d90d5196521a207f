"""CPU time and memory of processes, and what workers count, as they are now."""

import os
import resource
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from workers.bench.rig import WorkerProcess

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class WorkerUsage:
    """CPU seconds of workers since their start: all of it, two of their stages, their children.

    `verdicts` is how many each has stored.
    """

    worker_s: float
    forward_s: float
    decode_s: float
    children_s: float
    verdicts: tuple[int, ...]

    @classmethod
    def before(cls, workers: Sequence[WorkerProcess]) -> Self:
        """Read it at the start of what is measured: what `/metrics` costs a worker is over."""
        pages = [_Page.read(worker.metrics_url) for worker in workers]
        return cls._of(pages, [_process_times(worker.pid) for worker in workers])

    @classmethod
    def after(cls, workers: Sequence[WorkerProcess]) -> Self:
        """Read it at the end of what is measured: what `/metrics` costs a worker comes later."""
        times = [_process_times(worker.pid) for worker in workers]
        return cls._of([_Page.read(worker.metrics_url) for worker in workers], times)

    @classmethod
    def _of(cls, pages: "Sequence[_Page]", times: Sequence[tuple[float, float]]) -> Self:
        return cls(
            sum(itself_s for itself_s, _ in times),
            sum(page.forward_s for page in pages),
            sum(page.decode_s for page in pages),
            sum(children_s for _, children_s in times),
            tuple(page.verdicts for page in pages),
        )

    def since(self, before: "WorkerUsage") -> "WorkerUsage":
        """What was used between two readings of the same workers."""
        return WorkerUsage(
            self.worker_s - before.worker_s,
            self.forward_s - before.forward_s,
            self.decode_s - before.decode_s,
            self.children_s - before.children_s,
            tuple(now - then for now, then in zip(self.verdicts, before.verdicts, strict=True)),
        )

    @property
    def queue_s(self) -> float:
        """The workers' own time outside decode and forward."""
        return self.worker_s - self.forward_s - self.decode_s


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def peak_bytes(pid: int) -> int:
    """The most memory a process and its children have held; shared pages count in each."""
    return sum(_peak_bytes(each) for each in [pid, *children(pid)])


def own_s(*, without: Iterable[int]) -> float:
    """CPU seconds of this process and its children, without those that do something else."""
    ours = resource.getrusage(resource.RUSAGE_SELF)
    _, reaped_s = _times(os.getpid())
    living_s = sum(sum(_times(pid)) for pid in set(children(os.getpid())).difference(without))
    return ours.ru_utime + ours.ru_stime + reaped_s + living_s


def _peak_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _times(pid: int) -> tuple[float, float]:
    """CPU seconds of a process and of the children it has reaped; zeros once it is gone."""
    try:
        # The name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return (user + system) / _TICKS_PER_S, (reaped_user + reaped_system) / _TICKS_PER_S


def _process_times(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and of all its children together."""
    itself_s, reaped_s = _times(pid)
    return itself_s, reaped_s + sum(sum(_times(child)) for child in children(pid))


@dataclass(frozen=True, slots=True)
class _Page:
    """What a worker counts itself, since its start."""

    forward_s: float
    decode_s: float
    verdicts: int

    @classmethod
    def read(cls, metrics_url: str) -> Self:
        # A bare opener: a proxy of the environment is not for loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(metrics_url, timeout=10) as answer:
            page = answer.read().decode()
        stages_s: dict[str, float] = {}
        verdicts = 0
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == "captionguard_stage_cpu_seconds_total":
                    stages_s[sample.labels["stage"]] = sample.value
                elif sample.name == "captionguard_verdicts_total":
                    verdicts += int(sample.value)
        return cls(stages_s.get("forward", 0.0), stages_s.get("decode", 0.0), verdicts)
