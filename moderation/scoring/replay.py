"""Passes that are recorded once for each shape and replayed from then on, at one launch each.

A pass of ViT-B-32 is some 300 launches by Python, which take longer than the GPU does.
"""

import threading
from collections.abc import Callable, Hashable
from functools import partial

import torch

from moderation.scoring.padding import padded

# Something that works on buffers that stay where they are.
Run = Callable[[], None]
# Records a run on the current stream; what it returns does the same again, on the same buffers.
Record = Callable[[Run], Run]

# A recorded pass costs memory for each of its kernels; further shapes are computed as they come.
_MOST_SHAPES = 96
_WARM_UPS = 2


class Recordings:
    """The passes of one lane, one at a time: recorded where a shape first occurs.

    What cannot be recorded or replayed is computed instead, from then on, and `on_fault` is
    told why.
    """

    def __init__(
        self, record: Record, on_fault: Callable[[str], None], *, most_shapes: int = _MOST_SHAPES
    ) -> None:
        self._record = record
        self._on_fault = on_fault
        self._most_shapes = most_shapes
        # None where it is computed.
        self._shapes: dict[tuple[Hashable, int], Run | None] = {}

    def run(self, name: Hashable, count: int, compute: Callable[[int], None]) -> None:
        """Have `compute`, which works on so many rows of the lane's buffers, done for `count`.

        More rows may be computed, up to the next step. `name` tells what is computed. Raises
        what `compute` raises when it is called for no more than these rows.
        """
        size = padded(count)
        try:
            run = self._recorded(name, size, compute)
            if run is not None:
                run()
                return
        # Whatever a model does that cannot be recorded, or a device that is full.
        except Exception as error:
            self._shapes[name, size] = None
            self._on_fault(f"{name} of {size} rows: {type(error).__name__}: {error}")
        compute(count)

    def _recorded(self, name: Hashable, size: int, compute: Callable[[int], None]) -> Run | None:
        shape = name, size
        if shape not in self._shapes and len(self._shapes) < self._most_shapes:
            self._shapes[shape] = self._record(partial(compute, size))
        return self._shapes.get(shape)


class CudaGraphs:
    """Records CUDA graphs on one stream; their passes share memory, so one replays at a time.

    What a run works on must stay where it is, inputs and outputs: made before, kept after.
    Each lane has its own, and replays on the stream on which it has recorded: cuBLAS has
    scratch memory for each stream, and graphs hold its address.
    """

    # Only one recording may be under way in a process.
    _recording = threading.Lock()

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Also those that broke off or are not used any more: some releases of PyTorch give the
        # stream's scratch memory back with any of its graphs (pytorch 193402).
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def __call__(self, run: Run) -> Run:
        """Record a run on the current stream, which must not be the default one."""
        stream = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        self._graphs.append(graph)
        with self._recording:
            # Loads kernels and makes workspaces, which cannot be done while recording.
            for _ in range(_WARM_UPS):
                run()
            stream.synchronize()
            try:
                # Of this thread alone: other lanes may ask for memory meanwhile.
                with torch.cuda.graph(
                    graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
                ):
                    run()
            except BaseException:
                # Who knows what a recording that broke off has left there.
                self._pool = torch.cuda.graph_pool_handle()
                raise
        return graph.replay
