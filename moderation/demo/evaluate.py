"""Measures the demo model on combinations it never met: `python -m moderation.demo.evaluate`.

Pictures take the product's path: JPEG bytes, Pillow, open_clip's own preprocessing, fp32. The
match score is the bundled calibration's, fitted on pairs of the training distribution.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from moderation.demo import MODEL_CALIBRATION, MODEL_WEIGHTS
from moderation.demo.captions import Swap
from moderation.demo.model import DemoModel, load
from moderation.demo.posts import Pair, encode, sample_pair
from moderation.demo.world import seeded
from moderation.errors import InputRefused

Floats = NDArray[np.float64]

_CHUNK = 256  # pairs encoded at once
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class KindResult:
    """How well one kind of mismatch is told from matches; `recall` is at the threshold."""

    n: int
    auc: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on held-out pairs; `accuracy` is on random swaps at 50 % prevalence."""

    matches: int
    a: float
    b: float
    threshold: float
    accuracy: Estimate
    false_positive_rate: Estimate
    kinds: dict[str, KindResult]


@torch.inference_mode()
def cosines(model: DemoModel, pairs: Sequence[Pair]) -> Floats:
    """Return the cosine of each pair, drawn, encoded and decoded as a post would be."""
    parts = []
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        pictures = [Image.open(BytesIO(encode(pair.scene))).convert("RGB") for pair in chunk]
        images = torch.stack([model.preprocess(picture) for picture in pictures])
        tokens = model.tokenizer([pair.caption for pair in chunk])
        image_features = model.towers.encode_image(images, normalize=True)
        text_features = model.towers.encode_text(tokens, normalize=True)
        parts.append((image_features * text_features).sum(dim=1))
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True, slots=True)
class MatchScore:
    """The calibration as shipped: `sigmoid(a * cosine + b)`, flagged below `threshold`."""

    a: float
    b: float
    threshold: float

    @property
    def border(self) -> float:
        """The cosine whose match score is the threshold."""
        return (math.log(self.threshold / (1 - self.threshold)) - self.b) / self.a


def read_match_score(calibration: Path) -> MatchScore:
    """Read what the pipeline uses of a calibration file. Raises `InputRefused` unless Platt's."""
    document = json.loads(calibration.read_text())
    if document["method"] != "platt":
        raise InputRefused(f"{calibration} is {document['method']}; only platt has this formula")
    return MatchScore(a=document["a"], b=document["b"], threshold=document["threshold"])


def auc(matched: Floats, swapped: Floats, rng: np.random.Generator) -> Estimate:
    """Return the AUC with a bootstrap interval that resamples each class by itself."""
    y = np.concatenate([np.ones(len(matched)), np.zeros(len(swapped))])

    def resampled() -> float:
        sample = rng.choice(matched, len(matched)), rng.choice(swapped, len(swapped))
        return float(roc_auc_score(y, np.concatenate(sample)))

    low, high = np.quantile([resampled() for _ in range(_RESAMPLES)], [0.025, 0.975])
    return Estimate(float(roc_auc_score(y, np.concatenate([matched, swapped]))), low, high)


def share(hits: int, n: int) -> Estimate:
    """Return a proportion with its Wilson interval."""
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high))


def sample_pairs(name: str, seed: int, n: int, how: Swap | None, *, held_out: bool) -> list[Pair]:
    """Draw `n` pairs of one kind, each of a scene of its own."""
    rng = seeded(name, seed, how)
    return [sample_pair(rng, how, held_out=held_out) for _ in range(n)]


def evaluate(
    model: DemoModel, score: MatchScore, n: int, seed: int, *, quiet: bool = False
) -> Evaluation:
    """Judge `n` held-out matches and `n` held-out pairs of each kind of mismatch."""
    matched = cosines(model, sample_pairs("test", seed, n, None, held_out=True))
    rng = np.random.default_rng(seed)
    flagged, results = {}, {}
    for how in track(list(Swap), "evaluating", disable=quiet, transient=True):
        swapped = cosines(model, sample_pairs("test", seed, n, how, held_out=True))
        flagged[how] = int((swapped < score.border).sum())
        results[str(how)] = KindResult(n, auc(matched, swapped, rng), share(flagged[how], n))
    passed = int((matched >= score.border).sum())
    return Evaluation(
        matches=n,
        a=score.a,
        b=score.b,
        threshold=score.threshold,
        accuracy=share(passed + flagged[Swap.RANDOM], 2 * n),
        false_positive_rate=share(n - passed, n),
        kinds=results,
    )


def _text(estimate: Estimate) -> str:
    return f"{estimate.point:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _print(result: Evaluation) -> None:
    console = Console(width=80)
    table = Table(title="held-out combinations, 95 % intervals")
    for heading in ("swap", "n", "AUC against matches", f"recall at {result.threshold}"):
        table.add_column(heading)
    for kind, row in result.kinds.items():
        table.add_row(kind, str(row.n), _text(row.auc), _text(row.recall))
    console.print(table)
    console.print(f"matches: {result.matches}")
    console.print(f"accuracy on random swaps, 50 % mismatches: {_text(result.accuracy)}")
    console.print(f"false-positive rate: {_text(result.false_positive_rate)}")
    console.print(f"match score = sigmoid({result.a:.2f} * cosine {result.b:+.2f})")


def main(
    weights: Annotated[Path, typer.Option(help="Which weights.")] = MODEL_WEIGHTS,
    calibration: Annotated[Path, typer.Option(help="Which calibration.")] = MODEL_CALIBRATION,
    n: Annotated[int, typer.Option(help="Pairs of each kind, and of matches.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the demo model on pairs whose combinations it was never trained on."""
    result = evaluate(load(weights), read_match_score(calibration), n, seed, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        _print(result)


if __name__ == "__main__":
    typer.run(main)
