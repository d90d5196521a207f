"""Training: it learns, and an interrupted run goes on as it would have."""

from pathlib import Path

import open_clip
import pytest
import torch

from moderation.demo import MODEL_CONFIG, MODEL_NAME
from moderation.demo.batches import Batches, Sizes, tokenize
from moderation.demo.captions import describe
from moderation.demo.model import load
from moderation.demo.train import Plan, Trainer
from moderation.demo.world import sample_scene, seeded

PLAN = Plan(steps=8, pairs=16, warm_up_steps=2)


def _batches(trainer: Trainer) -> Batches:
    return Batches(PLAN.seed, PLAN.pairs, trainer.sizes)


def test_the_loss_falls() -> None:
    """A few steps on the same few scenes bring the loss down."""
    trainer = Trainer(PLAN)
    batch = _batches(trainer)[0]
    losses = [trainer.learn(batch) for _ in range(PLAN.steps)]
    assert losses[-1] < losses[0] - 0.1


def test_a_resumed_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """Two steps, a checkpoint and a third step give the loss of three steps in one go."""
    whole = Trainer(PLAN)
    batches = _batches(whole)
    for step in range(2):
        whole.learn(batches[step])
    whole.checkpoint(tmp_path / "checkpoint")
    resumed = Trainer(PLAN)
    resumed.resume(tmp_path / "checkpoint")
    assert resumed.step == 2
    assert resumed.learn(batches[2]) == pytest.approx(whole.learn(batches[2]), rel=1e-4)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    """Mixing two plans would give weights that no plan reproduces."""
    Trainer(PLAN).checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="another plan"):
        Trainer(Plan(steps=13)).resume(tmp_path / "checkpoint")


def test_saved_weights_load_through_stock_open_clip(tmp_path: Path) -> None:
    """What is saved loads as any open_clip model, rounded to fp16 and computed with in fp32."""
    trainer = Trainer(PLAN)
    trainer.save(tmp_path / "weights.safetensors")
    towers = load(tmp_path / "weights.safetensors").towers
    expected = trainer.towers.visual.proj.detach().half().float()
    assert torch.equal(towers.visual.proj.detach(), expected)
    assert (tmp_path / "weights.safetensors").stat().st_size <= 12_000_000


def test_batches_tokenize_as_the_product_does() -> None:
    """The cached, word by word tokens are those of the stock tokenizer."""
    open_clip.add_model_config(MODEL_CONFIG)
    rng = seeded("tokens")
    captions = [describe(sample_scene(rng, held_out=False), rng) for _ in range(200)]
    stock = open_clip.get_tokenizer(MODEL_NAME)(captions)
    assert torch.equal(tokenize(captions, stock.shape[1]), stock)


def test_a_batch_follows_from_seed_and_step() -> None:
    """The same step gives the same batch, another step another."""
    batches = Batches(1, 8, Sizes(64, 24))
    assert torch.equal(batches[3].images, batches[3].images)
    assert torch.equal(batches[3].tokens, batches[3].tokens)
    assert not torch.equal(batches[3].images, batches[4].images)
