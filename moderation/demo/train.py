"""Trains the demo model from nothing: `python -m moderation.demo.train`.

The defaults are those of the bundled weights. Batches follow from seed and step, so a run that
was interrupted and resumed from its checkpoint goes on as it would have.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import open_clip
import torch
import typer
from open_clip.loss import ClipLoss
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from moderation.demo import MODEL_WEIGHTS
from moderation.demo.batches import Batch, Batches, Sizes
from moderation.demo.model import new_towers, save

_MAX_LOGIT_SCALE = math.log(100)  # as CLIP: beyond it training becomes unstable


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `pairs` is the batch size; a quarter of it are scenes, the rest their twins."""

    steps: int = 3000
    pairs: int = 256
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 200
    seed: int = 7

    def rate_at(self, step: int) -> float:
        """Return the learning rate: a linear rise, then half a cosine to zero."""
        if step < self.warm_up_steps:
            return self.learning_rate * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


DEFAULT = Plan()  # of the bundled weights


class Trainer:
    """A model in training: towers, optimizer, the next step, and the tokens met so far."""

    def __init__(self, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.step = 0
        self.towers = new_towers().train()
        visual = self.towers.visual
        self.sizes = Sizes(int(visual.image_size[0]), int(self.towers.context_length))
        self.seen = torch.zeros(int(self.towers.vocab_size), dtype=torch.bool)
        self._mean = 255 * torch.tensor(visual.image_mean).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(visual.image_std).view(1, 3, 1, 1)
        self._loss = ClipLoss()
        self._optimizer = torch.optim.AdamW(_groups(self.towers, plan), betas=(0.9, 0.98))

    def learn(self, batch: Batch) -> float:
        """Take one step and return its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        images = (batch.images - self._mean) / self._std
        # On CPUs the fused attention's backward pass takes longer than all the rest.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", dtype=torch.bfloat16):
            image_features = self.towers.encode_image(images, normalize=True)
            text_features = self.towers.encode_text(batch.tokens, normalize=True)
        loss = self._loss(
            image_features.float(), text_features.float(), self.towers.logit_scale.exp()
        )
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        self._optimizer.step()
        with torch.no_grad():
            self.towers.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)
        self.seen[batch.tokens.flatten()] = True
        self.step += 1
        return float(loss.detach())

    def checkpoint(self, path: Path) -> None:
        """Write everything that a resumed run needs."""
        part = path.with_suffix(".part")
        state: dict[str, Any] = {
            "plan": self.plan,
            "step": self.step,
            "towers": self.towers.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "seen": self.seen,
        }
        torch.save(state, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same plan; raises ValueError for another plan's."""
        with torch.serialization.safe_globals([Plan]):
            state = torch.load(path, weights_only=True)
        if state["plan"] != self.plan:
            raise ValueError(f"{path} is of another plan: remove it to start anew")
        self.step = state["step"]
        self.seen = state["seen"]
        self.towers.load_state_dict(state["towers"])
        self._optimizer.load_state_dict(state["optimizer"])

    def save(self, path: Path) -> None:
        """Write the weights as they stand."""
        about = {"seed": str(self.plan.seed), "steps": str(self.step)}
        save(self.towers, path, self.seen, about)


def _groups(towers: open_clip.CLIP, plan: Plan) -> list[dict[str, Any]]:
    """Split parameters: gains, biases and the temperature do not decay, as in CLIP."""
    decayed = [p for p in towers.parameters() if p.ndim >= 2]
    kept = [p for p in towers.parameters() if p.ndim < 2]
    return [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def train(plan: Plan, out: Path, checkpoint: Path, minutes: float, save_every: int = 100) -> None:
    """Run the plan to its end, or until the time is over, writing weights now and then."""
    started = time.monotonic()
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan)
    if checkpoint.exists():
        trainer.resume(checkpoint)
    loader: DataLoader[Batch] = DataLoader(
        Batches(plan.seed, plan.pairs, trainer.sizes),
        batch_size=None,
        sampler=range(trainer.step, plan.steps),
        num_workers=1,
        prefetch_factor=4,
    )
    columns = "{task.completed}/{task.total} loss {task.fields[loss]:.3f}"
    progress = Progress(
        TextColumn("training"), BarColumn(), TextColumn(columns), TimeRemainingColumn()
    )
    with progress:
        task = progress.add_task("", total=plan.steps, completed=trainer.step, loss=math.nan)
        smooth = math.nan
        for batch in loader:
            loss = trainer.learn(batch)
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            progress.update(task, completed=trainer.step, loss=smooth)
            over = time.monotonic() - started > 60 * minutes
            if trainer.step % save_every == 0 or over:
                trainer.checkpoint(checkpoint)
                trainer.save(out)
                seconds = time.monotonic() - started
                progress.console.print(
                    f"step {trainer.step} loss {smooth:.4f} after {seconds:.0f} s"
                )
            if over:
                return
    trainer.save(out)
    checkpoint.unlink(missing_ok=True)


def main(
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = MODEL_WEIGHTS,
    checkpoint: Annotated[
        Path, typer.Option(help="Kept until the run is done; an existing one is resumed.")
    ] = Path(".captionguard/demo-tiny.checkpoint"),
    steps: Annotated[int, typer.Option(help="The length of the plan.")] = DEFAULT.steps,
    seed: Annotated[int, typer.Option(help="Another seed gives another model.")] = DEFAULT.seed,
    minutes: Annotated[float, typer.Option(help="Stop here; run again to resume.")] = 600.0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train the demo model and write its weights."""
    torch.set_num_threads(threads)
    train(Plan(steps=steps, seed=seed), out, checkpoint, minutes)


if __name__ == "__main__":
    typer.run(main)
