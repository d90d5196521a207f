"""Which model cosines are of: its name and hashes, loaded or not."""

from dataclasses import dataclass
from typing import Protocol


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


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that is not loaded."""

    spec: str
    weights_sha256: str
    preprocessing_sha256: str


# For cosines of whatever model: its fingerprint is that of no model, so nothing acts on it.
UNNAMED = NamedModel("unnamed", "0" * 64, "0" * 64)
