"""The exceptions of captionguard.

CaptionguardError
├── SetupError                what an operator has to mend; the message says how
│   ├── ModelUnavailable      the model's weights are not there and cannot be fetched
│   ├── CalibrationRefused    no calibration, or one made for another model
│   └── ServiceUnavailable    PostgreSQL, Redis or the API does not answer
├── InputRefused              what a caller handed in is wrong; nothing was stored
├── Unscorable                this submission can never be scored: becomes a verdict
└── TemporaryFault            worth trying again later, with backoff
"""

from moderation.types import Reason


class CaptionguardError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


class SetupError(CaptionguardError):
    """Something has to be set up or configured differently."""


class ModelUnavailable(SetupError):
    """The model cannot be loaded; the message says what would make it loadable."""


class CalibrationRefused(SetupError):
    """The calibration is missing, damaged or made for another model."""


class ServiceUnavailable(SetupError):
    """A server that is needed does not answer."""


class InputRefused(CaptionguardError):
    """The input is wrong and was not taken; `field` names the part that is."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unscorable(CaptionguardError):
    """A permanent fault of one submission; `reason` becomes its verdict's reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class TemporaryFault(CaptionguardError):
    """A fault that may pass; `reason` is what it becomes when it outlasts all retries."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
