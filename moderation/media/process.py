"""One decoder process, seen from the parent, which believes nothing that it answers."""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic

from moderation.errors import SetupError
from moderation.media.answers import Answer, AnswerBoard, DisbelievedError
from moderation.media.files import ImageFile
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import COUNT, MAX_HELLO_BYTES, MAX_IMAGES, REQUEST, TURN
from moderation.types import Framing

# Starting takes a tenth of a second; a machine under load may take long, but not for ever.
START_TIMEOUT_S = 60.0
# A child that an image has taken over without a sign serves so many more at most; a fresh
# one costs about 0.1 s, spread over these.
_IMAGES_A_CHILD = 1000
# A child ends itself at the timeout, image by image; this is for one that cannot or does not.
_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of decoder process: the module that it runs, with these arguments after the usual.

    It takes `places` files a turn, has `images` before a fresh process follows, and may hand
    files on if it `hands_on`. Of our environment, which holds credentials, it gets nothing but
    the `kept_variables`, and `variables` as they stand here.
    """

    module: str
    places: int
    images: int
    arguments: tuple[str, ...] = ()
    start_timeout_s: float = START_TIMEOUT_S
    hands_on: bool = False
    # The loader may need to find libpython.
    kept_variables: tuple[str, ...] = ("LD_LIBRARY_PATH",)
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """All that such a process gets of it."""
        kept = {name: os.environ[name] for name in self.kept_variables if name in os.environ}
        return kept | dict(self.variables)


PILLOW = Kind("moderation.media.child", MAX_IMAGES, _IMAGES_A_CHILD)


class ChildFailedError(Exception):
    """A child crashed, ran out of time or broke the protocol; it has been killed.

    `answers` are those of the images before the one at which it failed.
    """

    def __init__(self, message: str, answers: Sequence[Answer] = ()) -> None:
        super().__init__(message)
        self.answers = answers


class DecoderProcess:
    """One decoder process as the parent sees it; used by one thread at a time.

    `report` says what protects it. Raises `SetupError` when it does not start.
    """

    def __init__(
        self,
        framing: Framing,
        max_pixels: int,
        timeout_s: float,
        memory_bytes: int,
        kind: Kind = PILLOW,
    ) -> None:
        usual = (json.dumps(asdict(framing)), max_pixels, timeout_s, memory_bytes)
        arguments = (*map(str, usual), *kind.arguments)
        try:
            self._board = AnswerBoard(framing, kind.places, hands_on=kind.hands_on)
            self._socket, theirs = socket.socketpair()
        except OSError as error:
            raise _cannot_start(error) from error
        with theirs, self._board.file as shared_file:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-I", "-m", kind.module, *arguments],
                    stdin=theirs.fileno(),
                    stdout=shared_file,
                    env=kind.environment(),
                    cwd="/",
                )
            except OSError as error:
                self._socket.close()
                raise _cannot_start(error) from error
        self._timeout_s = timeout_s
        self._images_left = kind.images
        self._turn = 0
        try:
            self.report = self._hello(monotonic() + kind.start_timeout_s)
        except BaseException as error:
            self.kill()
            if not isinstance(error, (OSError, ValueError, TypeError)):
                raise
            raise SetupError(
                "An image decoder process ended while starting; its own message is on "
                "standard error. It needs Pillow and this package installed."
            ) from error

    @property
    def is_spent(self) -> bool:
        """Whether it has served so many images that a fresh process should follow."""
        return self._images_left <= 0

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._process.poll() is None

    def give_way(self, niceness: int) -> None:
        """Let other processes go first; one that has ended already is noticed when it is used."""
        with contextlib.suppress(OSError):
            # Beyond its parent's own: some run all of us at a low priority.
            niceness += os.getpriority(os.PRIO_PROCESS, self._process.pid)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)

    def kill(self) -> None:
        """End the process at once and reap it."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def decode(self, files: Sequence[ImageFile]) -> list[Answer]:
        """Have as many files decoded as its kind has places; one answer each, in order.

        Raises `ChildFailedError` and is dead.
        """
        self._images_left -= len(files)
        self._turn += 1
        started_s = monotonic()
        try:
            self._send(files)
            self._wait(len(files))
            return self._board.read(self._turn, len(files), at_most_s=monotonic() - started_s)
        except DisbelievedError as error:
            self.kill()
            raise _disbelieved(error) from error
        except OSError as error:
            self.kill()
            raise self._failure(error, len(files), monotonic() - started_s) from error
        except BaseException:
            self.kill()  # an interrupt leaves half a turn behind
            raise

    def _failure(self, error: OSError, count: int, at_most_s: float) -> ChildFailedError:
        """What a dead child leaves behind: the answers it gave before it failed."""
        is_late = isinstance(error, TimeoutError) or self._process.returncode == -signal.SIGALRM
        why = (
            f"decoding took longer than {self._timeout_s:g} s"
            if is_late
            else "the decoder process ended in the middle"
        )
        # One that has answered them all, and died before it said so, failed at none but the last.
        done = min(self._board.count_done(self._turn, count), count - 1)
        try:
            return ChildFailedError(why, self._board.read(self._turn, done, at_most_s=at_most_s))
        except DisbelievedError as disbelieved:
            return _disbelieved(disbelieved)

    def _hello(self, deadline: float) -> SandboxReport:
        (count,) = COUNT.unpack(self._receive(COUNT.size, deadline))
        if count > MAX_HELLO_BYTES:
            raise ValueError("too long a hello")
        hello = json.loads(self._receive(count, deadline))
        if "problem" in hello:
            raise SetupError(str(hello["problem"]))
        return SandboxReport(**hello)

    def _send(self, files: Sequence[ImageFile]) -> None:
        requests = [
            REQUEST.pack(file.size_bytes, file.sha256 is not None, file.sha256 or b"")
            for file in files
        ]
        descriptors = array.array("i", [file.descriptor for file in files])
        self._socket.settimeout(self._timeout_s)
        # It is taken whole: the turn before has been read, and this fits an empty socket.
        self._socket.sendmsg(
            (TURN.pack(self._turn, len(files)), *requests),
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)],
        )

    def _wait(self, count: int) -> None:
        """Wait until all is answered, as long as answers come."""
        done = 0
        self._socket.settimeout(self._timeout_s + _GRACE_S)
        while True:
            try:
                if not self._socket.recv(1):
                    raise ConnectionError("the process has closed its end")
            except TimeoutError:
                before, done = done, self._board.count_done(self._turn, count)
                if done <= before:
                    raise
            else:
                return

    def _receive(self, count: int, deadline: float) -> bytes:
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            self._socket.settimeout(_left_s(deadline))
            received = self._socket.recv_into(view)
            if received == 0:
                raise ConnectionError("the process has closed its end")
            view = view[received:]
        return bytes(buffer)


def _cannot_start(error: OSError) -> SetupError:
    return SetupError(f"An image decoder process cannot be started: {error}")


def _left_s(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def _disbelieved(error: DisbelievedError) -> ChildFailedError:
    return ChildFailedError(f"the decoder broke the protocol: {error}", error.before)
