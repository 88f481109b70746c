"""Training techniques: each keeps the promise of its docstring, and none changes a run that does not ask for it."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load

from tsar.errors import CheckpointError, RecipeError
from tsar.hub import load_release
from tsar.model.decoder import Decoder
from tsar.storage import read_folder
from tsar.training.balance import move_means, source_weights
from tsar.training.batches import Batches, shape_of_step
from tsar.training.checkpoint import find_checkpoint, list_checkpoints, mean_weights
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain
from tsar.training.memory import checkpoint_blocks
from tsar.training.objectives import NextPatches
from tsar.training.optim import OptimConfig, rate_factor
from tsar.training.sampler import BlockSampler, DataConfig, Pool
from tsar.training.synth import DEFAULT_WEIGHTS

CPU = torch.device("cpu")


def weights(run_dir) -> dict[str, torch.Tensor]:
    return load(read_folder(find_checkpoint(run_dir))["weights.safetensors"])


def records(run_dir, kind: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(value.equal(other[name]) for name, value in one.items())


def test_accumulated_parts_train_as_the_whole_batch(tiny_recipe, tmp_path):
    for parts in (1, 4):
        recipe = load_recipe(tiny_recipe, [f"train.accumulate={parts}", "train.steps=8"])
        pretrain(recipe, tmp_path / f"{parts}")
    assert_close(weights(tmp_path / "1"), weights(tmp_path / "4"))
    losses = [[line["loss"] for line in records(tmp_path / name)] for name in ("1", "4")]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_parts_have_each_row_once(tiny_recipe):
    recipe = load_recipe(tiny_recipe, ["train.accumulate=4"])
    one, parts = (Batches.make(load_recipe(tiny_recipe, [f"train.accumulate={n}"]), CPU) for n in (1, 4))
    shape = one.shape(3)
    (whole,), pieces = one.draw(3, shape), parts.draw(3, shape)
    assert [len(piece.windows) for piece in pieces] == [shape.rows // 4] * 4
    mine, all_of_it = torch.cat([piece.windows for piece in pieces]).nan_to_num(), whole.windows.nan_to_num()
    assert sorted(mine.tolist()) == sorted(all_of_it.tolist())
    with pytest.raises(RecipeError, match="in 3 parts"):
        pretrain(load_recipe(tiny_recipe, ["train.accumulate=3"]), "unused")
    assert recipe.train.accumulate == 4


def kept_bytes(objective, windows, visible) -> tuple[int, list[torch.Tensor]]:
    """Bytes that the forward pass keeps for the gradient, and the gradients."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(windows, visible).mean()
        total = sum(kept.values())
    loss.backward()
    return total, [param.grad.clone() for param in objective.parameters()]


def test_checkpointed_activations_need_less_memory_for_the_same_gradient(tiny_recipe):
    recipe = load_recipe(tiny_recipe, ["model.num_layers=8", "model.d_ff=64"])
    torch.manual_seed(0)
    plain = Decoder(recipe.model)
    with torch.no_grad():
        for param in plain.parameters():
            param.add_(0.02 * torch.randn(param.shape))
    lean = Decoder(recipe.model)
    lean.load_state_dict(plain.state_dict())
    checkpoint_blocks(lean)
    assert lean.state_dict().keys() == plain.state_dict().keys()
    windows = torch.randn(32, 80).cumsum(1)
    visible = (torch.arange(80) < 64).expand(32, -1)
    memory, gradients = kept_bytes(NextPatches(plain), windows, visible)
    less, same = kept_bytes(NextPatches(lean), windows, visible)
    assert less < 0.5 * memory
    for one, other in zip(gradients, same, strict=True):
        torch.testing.assert_close(other, one)


def test_a_run_with_checkpointed_activations_is_the_same(tiny_recipe, tmp_path):
    for value in ("false", "true"):
        pretrain(load_recipe(tiny_recipe, ["train.steps=5", f"train.checkpoint_activations={value}"]), tmp_path / value)
    assert_close(weights(tmp_path / "false"), weights(tmp_path / "true"))


def test_the_ramp_grows_rows_to_all_of_them(tiny_recipe, tmp_path):
    shapes = "shapes=[{context_length: 64, rows: 16}]"
    settings = [shapes, "train.ramp=8", "train.ramp_from=0.25", "train.accumulate=2", "train.steps=10"]
    recipe = load_recipe(tiny_recipe, settings)
    rows = [shape_of_step(recipe, step, multiple=2).rows for step in range(12)]
    assert rows[0] == 4
    assert rows[8:] == [16] * 4
    assert rows == sorted(rows)
    assert all(count % 2 == 0 for count in rows)
    pretrain(recipe, tmp_path)
    assert records(tmp_path)[-1]["windows"] == sum(rows[:10])


def test_a_curriculum_moves_the_weights_of_the_shapes(tiny_recipe):
    short = "{context_length: 32, rows: 8, final_weight: 0}"
    shapes = f"shapes=[{short}, {{context_length: 64, rows: 8, weight: 0, final_weight: 1}}]"
    recipe = load_recipe(tiny_recipe, [shapes, "train.curriculum=1000"])
    lengths = np.array([shape_of_step(recipe, step).context_length for step in range(1200)])
    assert (lengths[:20] == 32).mean() > 0.8
    assert 0.35 < (lengths[450:550] == 32).mean() < 0.65
    assert (lengths[1000:] == 64).all()


def test_the_infinite_schedule_knows_no_end():
    config = OptimConfig(schedule="infinite", warmup_steps=10)
    rates = [rate_factor(step, 0.0, config, annealing=False) for step in range(20)]
    assert rates == pytest.approx([*np.arange(1, 11) / 10, *np.ones(10)])
    branch = [rate_factor(5000, done, config, annealing=True) for done in (0.0, 0.25, 1.0)]
    assert branch == pytest.approx([1.0, 0.01 + 0.99 * 0.5, 0.01])


ENDLESS = ["optim.schedule=infinite", "optim.warmup_steps=5"]


@pytest.mark.slow
def test_an_endless_run_goes_on_as_if_it_had_always_been_longer(tiny_recipe, tmp_path):
    pretrain(load_recipe(tiny_recipe, [*ENDLESS, "train.steps=18"]), tmp_path / "whole")
    pretrain(load_recipe(tiny_recipe, [*ENDLESS, "train.steps=9"]), tmp_path / "parts")
    pretrain(load_recipe(tiny_recipe, [*ENDLESS, "train.steps=null"]), tmp_path / "parts", until=18)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.slow
def test_a_branch_anneals_from_a_checkpoint_and_leaves_it_alone(tiny_recipe, tmp_path):
    trunk = pretrain(load_recipe(tiny_recipe, [*ENDLESS, "train.steps=null"]), tmp_path / "trunk", until=12)
    before = weights(tmp_path / "trunk")
    settings = [*ENDLESS, f"train.anneal_from={trunk}", "train.steps=10", "train.log_every=1"]
    release = pretrain(load_recipe(tiny_recipe, settings), tmp_path / "branch")
    lines = records(tmp_path / "branch")
    assert [line["step"] for line in lines] == list(range(13, 23))
    rates = [line["lr"] / 3e-3 for line in lines]
    assert rates == pytest.approx([0.01 + 0.99 * (1 - (step / 10) ** 0.5) for step in range(10)])
    assert_same(weights(tmp_path / "trunk"), before)
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "parts", until=17)
    again = pretrain(load_recipe(tiny_recipe, settings), tmp_path / "parts")
    assert (release / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    with pytest.raises(RecipeError, match="nowhere"):
        pretrain(load_recipe(tiny_recipe, ["train.anneal_from=nowhere"]), tmp_path / "lost")
    with pytest.raises(CheckpointError):
        pretrain(load_recipe(tiny_recipe, [f"train.anneal_from={trunk}", "model.d_model=24"]), tmp_path / "other")


@pytest.mark.slow
def test_the_release_can_be_the_mean_of_the_last_checkpoints(tiny_recipe, tmp_path):
    settings = ["train.average_last=3", "train.keep=3", "train.validation_windows=1"]
    release = pretrain(load_recipe(tiny_recipe, settings), tmp_path)
    kept = [load(read_folder(folder)["weights.safetensors"]) for folder in list_checkpoints(tmp_path)]
    assert len(kept) == 3
    for name, value in load_release(release).state_dict().items():
        mean = sum(one[f"decoder.{name}"].double() for one in kept) / 3
        torch.testing.assert_close(value, mean.half().float(), rtol=0, atol=0)
    assert_same(mean_weights(tmp_path, 1), {k.removeprefix("decoder."): v for k, v in kept[-1].items()})
    facts = json.loads((release / "train.json").read_text())
    assert facts["validation"]["mean"] != records(tmp_path, "validation")[-1]["loss"]


def test_workers_make_the_same_batches(tmp_path):
    pools = [
        Pool(BlockSampler(DataConfig(block_size=4, fresh=2, pool=6, workers=workers), 5), 80) for workers in (0, 2)
    ]
    for step in (0, 1, 2, 3, 40, 41, 7):  # forwards, a jump, and back
        plain, ahead = (pool.batch(step, 16, 64) for pool in pools)
        assert torch.equal(plain.nan_to_num(7.0), ahead.nan_to_num(7.0))
    assert len(pools[1].ahead) == 8
    pools[1].close()


@pytest.mark.slow
def test_a_run_with_workers_is_the_same_and_resumes(tiny_recipe, tmp_path):
    pretrain(load_recipe(tiny_recipe, ["train.steps=12"]), tmp_path / "plain")
    recipe = load_recipe(tiny_recipe, ["train.steps=12", "data.workers=2"])
    pretrain(recipe, tmp_path / "ahead", until=5)
    pretrain(recipe, tmp_path / "ahead")
    assert_same(weights(tmp_path / "plain"), weights(tmp_path / "ahead"))


def write_corpus(folder, level: float):
    """A corpus of one source: square waves with `level` of its points up."""
    folder.mkdir()
    series = [(np.arange(300) % 20 < 20 * level).astype(float) for _ in range(10)]
    rows = {"item_id": [str(number) for number in range(10)], "freq": ["h"] * 10, "target": series}
    pd.DataFrame(rows).to_parquet(folder / "waves.parquet")
    return folder


def test_replay_brings_back_the_old_corpus(tmp_path):
    old, new = write_corpus(tmp_path / "old", 0.9), write_corpus(tmp_path / "new", 0.1)
    text = f"""
name: onward
corpus: {new}
model: {{d_model: 16, patch_length: 8, output_length: 16}}
data:
  corpus_share: 1.0
  replay: {old}
  replay_share: 0.25
  augment_corpus: {{mixup: 0, time_flip: 0, modulate: 0}}
shapes: [{{context_length: 64, rows: 400}}]
train: {{steps: 3}}
"""
    path = tmp_path / "on.yaml"
    path.write_text(text)
    batches = Batches.make(load_recipe(path), CPU)
    blocks = [batches.pool.sampler.block(index, 80) for index in range(100)]
    origins = [batches.pool.sampler._origin(np.random.default_rng([0, index])) for index in range(400)]
    assert origins.count("replay") / 400 == pytest.approx(0.25, abs=0.06)
    assert set(origins) == {"replay", "corpus"}
    up = torch.tensor([float(block[torch.isfinite(block)].median() > 0) for block in blocks])
    assert 0.1 < up.mean() < 0.9, "both kinds of waves are drawn"
    plain = load_recipe(path, ["data.replay=null", "data.replay_share=0"])
    assert Batches.make(plain, CPU).pool.sampler.replay is None


def test_scaled_losses_weigh_sources_alike():
    means: dict[str, float] = {}
    names = ["easy", "hard", "easy", "hard"]
    for _ in range(3):
        move_means(means, names, torch.tensor([0.1, 1.0, 0.3, torch.nan]))
    assert means == pytest.approx({"easy": 0.2, "hard": 1.0})
    scaled = source_weights(means, [*names, "new"])
    torch.testing.assert_close(scaled, torch.tensor([3.0, 0.6, 3.0, 0.6, 1.0]))
    assert source_weights({}, names).tolist() == [1.0] * 4


def test_the_origins_are_those_of_the_windows(tiny_recipe):
    names = list(DEFAULT_WEIGHTS)[:2]
    recipe = load_recipe(tiny_recipe, [f"data.families={{{names[0]}: 1, {names[1]}: 1}}", "train.accumulate=2"])
    batches = Batches.make(recipe, CPU)
    shape = batches.shape(7)
    parts, origins = batches.draw(7, shape), batches.origins(7, shape)
    assert [len(part) for part in origins] == [len(view.windows) for view in parts]
    blocks = {index: batches.pool.sampler.block(index, 80) for index in range(14, 20)}
    for view, sources in zip(parts, origins, strict=True):
        for row, source in zip(view.windows, sources, strict=True):
            tail = row[torch.isfinite(row)][:20]
            found = {
                batches.pool.sampler.origin(index)
                for index, block in blocks.items()
                for one in block
                if any(torch.equal(piece, tail) for piece in one[torch.isfinite(one)].unfold(0, len(tail), 1))
            }
            assert source in found


@pytest.mark.slow
def test_a_run_with_scaled_losses_resumes_and_shares_parts(tiny_recipe, tmp_path):
    settings = ["train.scale_losses=true", "train.steps=12"]
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "whole")
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "parts", until=5)
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "parts")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    pretrain(load_recipe(tiny_recipe, [*settings, "train.accumulate=2"]), tmp_path / "two")
    assert_close(weights(tmp_path / "whole"), weights(tmp_path / "two"))
    pretrain(load_recipe(tiny_recipe, ["train.steps=12"]), tmp_path / "plain")
    assert not weights(tmp_path / "plain")["decoder.norm.weight"].equal(
        weights(tmp_path / "whole")["decoder.norm.weight"]
    )


def test_utilisation_is_logged_against_a_peak_given_or_measured(tiny_recipe, tmp_path):
    settings = ["train.steps=5", "train.mfu=true"]
    pretrain(load_recipe(tiny_recipe, [*settings, "train.peak_tflops=0.5"]), tmp_path / "given")
    (line,) = records(tmp_path / "given")
    assert line["mfu"] == pytest.approx(line["tflops"] / 0.5)
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "measured")
    (line,) = records(tmp_path / "measured")
    assert 0 < line["mfu"] < 1
    pretrain(load_recipe(tiny_recipe, ["train.steps=5"]), tmp_path / "plain")
    assert "mfu" not in records(tmp_path / "plain")[0]


def test_z_loss_without_logits_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(RecipeError, match="logits"):
        pretrain(load_recipe(tiny_recipe, ["optim.z_loss=1e-4"]), tmp_path)
