"""Which model cosines are of: its name and hashes, loaded or not."""

from dataclasses import dataclass
from typing import Protocol

from moderation.settings import Settings


class Model(Protocol):
    """What a calibration is made for; a `ClipModel` is one."""

    @property
    def spec(self) -> str:
        """Its name, as given in CAPTIONGUARD_MODEL."""

    @property
    def weights_sha256(self) -> str:
        """Of its weights."""

    @property
    def preprocessing_sha256(self) -> str:
        """Of framing, colours and what the tokenizer makes of probes."""

    @property
    def fingerprint(self) -> str:
        """Names these weights with this preprocessing, as verdicts do."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that is not loaded."""

    spec: str
    weights_sha256: str
    preprocessing_sha256: str

    @property
    def fingerprint(self) -> str:
        """Names these weights with this preprocessing, as verdicts do."""
        return f"{self.weights_sha256[:16]}-{self.preprocessing_sha256[:16]}"


# For cosines of whatever model: its fingerprint is that of no model, so nothing acts on it.
UNNAMED = NamedModel("unnamed", "0" * 64, "0" * 64)


def load_identity(spec: str, settings: Settings) -> NamedModel:
    """Load a model for its hashes alone. Raises `ModelUnavailable`."""
    from moderation.scoring.model import load_model

    loaded = load_model(spec, device=settings.device)
    return NamedModel(loaded.spec, loaded.weights_sha256, loaded.preprocessing_sha256)
