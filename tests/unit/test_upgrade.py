"""Old releases load and forecast what they did; the hub's layout goes there and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from tsar.decode import decode_panel
from tsar.errors import ModelError, OptionError
from tsar.hub import load_model, load_release
from tsar.interop.huggingface import from_pretrained, publish
from tsar.upgrade import upgrade_files

GOLDEN = Path(__file__).parent.parent / "golden"


def forecast(model):
    return decode_panel(model, np.sin(np.arange(100) / 5), np.array([0, 100]), 40, context_lengths=[128])


def test_a_stored_release_forecasts_what_it_did():
    expected = json.loads((GOLDEN / "format-1-forecast.json").read_text())
    np.testing.assert_allclose(forecast(load_release(GOLDEN / "format-1")), expected, rtol=1e-4, atol=1e-5)


def test_an_older_format_is_brought_up_to_date_and_a_newer_one_is_left():
    new = json.loads((GOLDEN / "format-1" / "config.json").read_text())
    old = {**new, "format_version": 0, "width": new["d_model"]}
    del old["d_model"]
    rename = {0: lambda config: {**{k: v for k, v in config.items() if k != "width"}, "d_model": config["width"]}}
    assert json.loads(upgrade_files({"config.json": json.dumps(old).encode()}, rename)["config.json"]) == new
    for content in (json.dumps({**new, "format_version": 2}).encode(), b"{", b"[1]"):
        files = {"config.json": content}
        assert upgrade_files(files, rename) is files


def test_the_layout_of_the_hub_goes_there_and_back(tmp_path):
    folder = publish(GOLDEN / "format-1", tmp_path / "out")
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: tsar-forecast\n")
    expected = forecast(load_release(GOLDEN / "format-1"))
    np.testing.assert_array_equal(forecast(load_model(folder)), expected)
    (folder / "manifest.json").unlink()
    np.testing.assert_array_equal(forecast(from_pretrained(folder)), expected)
    with pytest.raises(OptionError, match="no release"):
        publish(GOLDEN / "format-1", folder)


def test_a_model_that_is_nowhere_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="no folder here") as caught:
        from_pretrained("nobody/no-such-tsar", local_files_only=True)
    assert caught.value.code == "model.not_on_hub"
