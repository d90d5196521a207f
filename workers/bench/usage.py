"""CPU time and memory of processes, and what a worker counts, as they are now."""

import os
import resource
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from workers.bench.rig import WorkerProcess

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class WorkerUsage:
    """CPU seconds of a worker since its start: all of it, two of its stages, its children."""

    worker_s: float
    forward_s: float
    decode_s: float
    children_s: float

    @classmethod
    def before(cls, worker: WorkerProcess) -> Self:
        """Read it at the start of what is measured: what `/metrics` costs the worker is over."""
        stages = _stages(worker.metrics_url)
        return cls._of(stages, _process_times(worker.pid))

    @classmethod
    def after(cls, worker: WorkerProcess) -> Self:
        """Read it at the end of what is measured: what `/metrics` costs the worker comes later."""
        times = _process_times(worker.pid)
        return cls._of(_stages(worker.metrics_url), times)

    @classmethod
    def _of(cls, stages: Mapping[str, float], times: tuple[float, float]) -> Self:
        itself_s, children_s = times
        return cls(itself_s, stages.get("forward", 0.0), stages.get("decode", 0.0), children_s)

    def since(self, before: "WorkerUsage") -> "WorkerUsage":
        """What was used between two readings."""
        return WorkerUsage(
            self.worker_s - before.worker_s,
            self.forward_s - before.forward_s,
            self.decode_s - before.decode_s,
            self.children_s - before.children_s,
        )

    @property
    def queue_s(self) -> float:
        """The worker's own time outside decode and forward."""
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


def _stages(metrics_url: str) -> dict[str, float]:
    # A bare opener: a proxy of the environment is not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(metrics_url, timeout=10) as answer:
        page = answer.read().decode()
    return {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "captionguard_stage_cpu_seconds_total"
    }
