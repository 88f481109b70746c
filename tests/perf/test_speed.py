"""`tsar bench`: its numbers are consistent, the stages add up, peers take part."""

import numpy as np
import pytest

from tsar.benchmark.growth import NAMES, draw_growth, measure_growth
from tsar.benchmark.speed import STAGES, Work, make_series_frame, measure_peak, measure_speed, stage_shares
from tsar.cli import main
from tsar.errors import TsarError
from tsar.forecaster import Forecaster
from tsar.hub import load_model

SMALL = [Work(batch=2, context_length=64, prediction_length=8), Work(batch=8, context_length=64, prediction_length=8)]


@pytest.fixture(scope="module")
def decoder(tiny_release):
    return load_model(tiny_release)


@pytest.fixture(scope="module")
def speed(decoder):
    return measure_speed(decoder, works=SMALL, repeats=1)


@pytest.mark.slow
def test_every_work_is_timed_through_each_door(speed):
    table = speed.table
    assert list(table["work"].unique()) == ["2 x 64 -> 8", "8 x 64 -> 8"]
    assert list(table["what"][:3]) == ["model", "predict, one pass", "predict"]
    sizes = np.repeat([2, 8], 3)
    np.testing.assert_allclose(table["series_per_second"], sizes / table["milliseconds"] * 1e3)
    assert table["times_peer"].isna().all()
    assert (table["utilisation"] > 0).all() and (table["utilisation"] < 1).all()


@pytest.mark.slow
def test_the_mirrored_pass_is_counted(speed):
    by_name = speed.table[:3].set_index("what")
    work = by_name["utilisation"] * by_name["milliseconds"]
    assert work["predict"] > 1.9 * work["model"]


def test_stages_add_up(decoder):
    shares = stage_shares(Forecaster(decoder, prediction_length=8), make_series_frame(SMALL[1]))
    assert tuple(shares.index) == STAGES
    assert shares.sum() == pytest.approx(1.0)
    assert (shares > 0).all()


def test_a_table_can_be_read(speed):
    text = speed.to_markdown()
    assert "| 8 x 64 -> 8 | predict |" in text
    assert all(f"| {stage} |" in text for stage in STAGES)
    assert measure_peak(repeats=2) > 1e8


@pytest.mark.parametrize("options", [{"works": []}, {"repeats": 0}, {"peers": ["oracle"]}], ids=str)
def test_wrong_options_have_a_code(decoder, options):
    with pytest.raises(TsarError) as caught:
        measure_speed(decoder, **{"works": SMALL[:1], **options})
    assert caught.value.code == "option.invalid"


@pytest.mark.slow
def test_growth_is_drawn_and_less_than_proportional_in_the_horizon(decoder, tmp_path):
    growth = measure_growth(decoder, repeats=1)
    assert set(growth["axis"]) == set(NAMES)
    draw_growth(growth, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    batch = growth[growth["axis"] == "batch"]["seconds"].to_numpy()
    assert batch[-1] < 256 * batch[0]


@pytest.mark.slow
def test_the_command_prints_the_table(capsys):
    assert main(["bench", "--quick", "--repeats", "1"]) == 0
    assert "| 32 x 512 -> 64 | predict |" in capsys.readouterr().out


@pytest.mark.slow
def test_far_ahead_the_shipped_model_is_ten_times_faster_than_chronos_bolt_tiny():
    pytest.importorskip("chronos")
    work = Work(batch=8, context_length=512, prediction_length=512)
    table = measure_speed("tsar-tiny", works=[work], peers=["chronos-bolt-tiny"], repeats=1).table.set_index("what")
    assert table["times_peer"]["model"] > 10  # measured 70
