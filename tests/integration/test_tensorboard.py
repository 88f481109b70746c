"""TensorBoard, where it is installed, gets the figures that ``metrics.jsonl`` gets."""

import json

import pytest

from tsar.training.config import load_recipe
from tsar.training.loop import pretrain

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorBoard's own


def test_the_board_holds_the_figures_of_the_file(tiny_recipe, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretrain(load_recipe(tiny_recipe, ["train.steps=10"]), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in board.Scalars("train/loss")]
    assert [step for step, _ in shown] == [5, 10]
    written = [line["loss"] for line in lines if line["kind"] == "train"]
    assert [value for _, value in shown] == pytest.approx(written, rel=1e-6)
