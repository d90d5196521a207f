"""What workers use is read from outside, and reading it does not count."""

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workers.bench.rig import WorkerProcess
from workers.bench.usage import WorkerUsage

# Far more than anything else that this process does meanwhile.
SCRAPE_CPU_S = 0.3


def _burn(cpu_s: float) -> None:
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        pass


class _Metrics(BaseHTTPRequestHandler):
    """A page that costs its process much CPU, with stages that grow with each reading."""

    readings = 0

    def do_GET(self) -> None:
        """Answer as a worker's `/metrics` does, at a cost."""
        _burn(SCRAPE_CPU_S)
        type(self).readings += 1
        page = "".join(
            f'captionguard_stage_cpu_seconds_total{{stage="{stage}"}} {cpu_s * self.readings}\n'
            for stage, cpu_s in (("forward", 2.0), ("decode", 0.5))
        )
        verdicts = "".join(
            f'captionguard_verdicts_total{{outcome="{outcome}"}} {count * self.readings}\n'
            for outcome, count in (("pass", 40), ("flag", 2))
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"# TYPE captionguard_stage_cpu_seconds counter\n" + page.encode())
        self.wfile.write(b"# TYPE captionguard_verdicts counter\n" + verdicts.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    """Return this very process, which shows metrics as a worker does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield WorkerProcess(os.getpid(), f"http://127.0.0.1:{server.server_port}/metrics")
    server.shutdown()
    thread.join()
    server.server_close()


def test_reading_costs_what_is_measured_nothing(worker: WorkerProcess) -> None:
    """Both readings of `/metrics` cost the worker CPU, and neither falls between them."""
    before = WorkerUsage.before([worker])
    usage = WorkerUsage.after([worker]).since(before)
    assert 0 <= usage.worker_s < SCRAPE_CPU_S


def test_a_worker_is_charged_for_its_work(worker: WorkerProcess) -> None:
    """CPU time between two readings is the worker's, its stages are what it counts itself."""
    before = WorkerUsage.before([worker])
    _burn(1.0)
    usage = WorkerUsage.after([worker]).since(before)
    assert 0.9 < usage.worker_s < 1.0 + SCRAPE_CPU_S
    assert usage.forward_s == pytest.approx(2.0)
    assert usage.decode_s == pytest.approx(0.5)
    assert usage.verdicts == (42,)
    assert usage.queue_s == pytest.approx(usage.worker_s - 2.5)


def test_workers_are_summed(worker: WorkerProcess) -> None:
    """The CPU of several workers is one figure, what each has stored is told one by one."""
    before = WorkerUsage.before([worker, worker])
    _burn(0.5)
    usage = WorkerUsage.after([worker, worker]).since(before)
    assert 0.9 < usage.worker_s < 1.0 + SCRAPE_CPU_S
    # A page counts further with each reading, and two readings lie between those of each.
    assert usage.forward_s == pytest.approx(2 * 2 * 2.0)
    assert usage.verdicts == (84, 84)
