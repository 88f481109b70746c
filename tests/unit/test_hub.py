"""Hub: a release comes back bit for bit, in a fresh process too; damage and misfits get their code."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tsar.decode import decode
from tsar.errors import ModelError, OptionError, ReleaseError
from tsar.hub import find_release, load_model, load_release, release_files, resolve_device
from tsar.model.files import model_files
from tsar.registry import list_models
from tsar.storage import MANIFEST, read_folder, write_folder


@pytest.fixture
def release(decoder, tmp_path):
    """A release of the small decoder on disk."""
    folder = tmp_path / "small"
    write_folder(folder, model_files(decoder.config, dict(decoder.state_dict())), name="small")
    return folder


def rewrite(folder, **changed: bytes | None) -> None:
    """Write the release again with some files changed or left out, with right hashes."""
    names = {"config": "config.json", "weights": "model.safetensors"}
    files = read_folder(folder) | {names[key]: content for key, content in changed.items()}
    write_folder(folder, {name: content for name, content in files.items() if content is not None})


def code_of(call, *arguments) -> str:
    with pytest.raises((ModelError, ReleaseError, OptionError)) as caught:
        call(*arguments)
    return caught.value.code


def test_weights_and_config_come_back_bit_for_bit(decoder, release):
    loaded = load_release(release)
    assert loaded.config == decoder.config
    for name, value in decoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert torch.equal(loaded.levels, decoder.levels)
    assert not loaded.training
    assert not any(param.requires_grad for param in loaded.parameters())
    assert not any(value.is_meta for value in [*loaded.parameters(), *loaded.buffers()])


@pytest.mark.slow
def test_a_fresh_process_decodes_the_same_numbers(decoder, release, tmp_path):
    context = np.random.default_rng(0).normal(size=(2, 64)).cumsum(1)
    np.save(tmp_path / "context.npy", context)
    code = """
import sys, numpy as np
from tsar.decode import decode
from tsar.hub import load_model
np.save(sys.argv[3], decode(load_model(sys.argv[1]), np.load(sys.argv[2]), 100))
"""
    arguments = [str(release), str(tmp_path / "context.npy"), str(tmp_path / "out.npy")]
    environment = {**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), decode(decoder, context, 100))


def test_loading_again_is_free_and_the_same(release):
    assert load_model(release) is load_model(str(release))


def test_a_release_that_was_replaced_is_read_anew(release, small_decoder):
    assert load_model(release).config.num_layers != 1
    other = small_decoder(num_layers=1)
    write_folder(release, model_files(other.config, dict(other.state_dict())))
    assert load_model(release).config == other.config


def test_a_decoder_is_taken_as_it_is(small_decoder):
    decoder = small_decoder().train()
    assert load_model(decoder) is decoder
    assert not decoder.training


def test_release_files_of_a_folder_and_of_a_decoder(decoder, release, tmp_path):
    copied = release_files(release)
    assert copied == {path.name: path.read_bytes() for path in release.iterdir()}
    made = release_files(decoder)
    (tmp_path / "made").mkdir()
    for name, content in made.items():
        (tmp_path / "made" / name).write_bytes(content)
    assert torch.equal(load_release(tmp_path / "made").head.quantiles.weight, decoder.head.quantiles.weight)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", MANIFEST])
def test_missing_files(release, name):
    (release / name).unlink()
    assert code_of(load_release, release) == "release.missing_file"


@pytest.mark.parametrize("part", ["config", "weights"])
def test_release_without_a_needed_file(release, part):
    rewrite(release, **{part: None})
    assert code_of(load_release, release) == "release.missing_file"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:50] + b"?" + data[51:], lambda data: b""]
)
def test_damaged_files(release, name, damage):
    content = (release / name).read_bytes()
    (release / name).write_bytes(damage(content))
    assert code_of(load_release, release) == "release.bad_hash"


@pytest.mark.parametrize("config", [b"", b"[]", b"3", b"{", b"\xff"])
def test_config_that_is_none(release, config):
    rewrite(release, config=config)
    assert code_of(load_release, release) == "release.bad_manifest"


@pytest.mark.parametrize("change", [{"format_version": 99}, {"d_modle": 3}, {"d_model": -1}])
def test_config_that_cannot_be_used(release, decoder, change):
    rewrite(release, config=json.dumps(decoder.config.to_dict() | change).encode())
    assert code_of(load_release, release) == "model.bad_config"


@pytest.mark.parametrize("weights", [b"", b"rubbish" * 9, b"\x00" * 64])
def test_weights_that_are_none(release, weights):
    rewrite(release, weights=weights)
    assert code_of(load_release, release) == "release.bad_manifest"


@pytest.mark.parametrize("misfit", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit_the_config(release, misfit):
    weights = load((release / "model.safetensors").read_bytes())
    if misfit == "missing":
        del weights["norm.weight"]
    elif misfit == "unknown":
        weights["norm.bias"] = torch.zeros(16)
    else:
        weights["norm.weight"] = torch.ones(15)
    rewrite(release, weights=save(weights))
    with pytest.raises(ReleaseError, match=r"norm\.") as caught:
        load_release(release)
    assert caught.value.code == "release.bad_manifest"


def test_half_precision_weights_are_widened(release, decoder):
    weights = {name: value.half() for name, value in load((release / "model.safetensors").read_bytes()).items()}
    rewrite(release, weights=save(weights))
    loaded = load_release(release)
    assert {param.dtype for param in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.norm.weight, decoder.norm.weight, rtol=1e-3, atol=1e-3)


def test_finding_a_release(release, tmp_path, monkeypatch):
    assert find_release(release) == release
    assert find_release(str(release)) == release
    assert code_of(find_release, tmp_path / "nowhere") == "model.unknown_name"
    assert code_of(find_release, str(tmp_path / "nowhere")) == "model.unknown_name"
    assert code_of(find_release, "tsar-giant") == "model.unknown_name"
    monkeypatch.chdir(tmp_path)
    assert find_release("small").samefile(release), "a bare name may be a folder here"


@pytest.mark.parametrize(
    "info", [info for info in list_models() if info.task == "forecast"], ids=lambda info: info.name
)
def test_every_shipped_release_loads_and_forecasts(info):
    decoder = load_model(info.name)
    assert sum(param.numel() for param in decoder.parameters()) == info.parameters
    quantiles = decode(decoder, np.sin(np.arange(128.0))[None], 24)
    assert np.isfinite(quantiles).all()


def test_folders_that_belong_to_a_release_say_where_it_is(decoder, tmp_path, monkeypatch):
    files = model_files(decoder.config, dict(decoder.state_dict()))
    write_folder(tmp_path / "run" / "release", files, name="small")
    write_folder(tmp_path / "saved", {"options.json": b"{}"}, kind="forecaster")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"run is no release. Hint: It is the run of one: take run/release"):
        find_release("run")
    with pytest.raises(ModelError, match=r"Hint: It is the run of one: take .*run/release"):
        find_release(tmp_path / "run")
    with pytest.raises(ModelError, match=r"saved forecaster: Forecaster.load\('saved'\), or --forecaster"):
        find_release("saved")
    assert load_release(find_release("run/release")).config == decoder.config
    (tmp_path / "tsar-tiny" / "release").mkdir(parents=True)
    assert find_release("tsar-tiny").parent != tmp_path, "a name that ships wins over a folder that is no release"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ReleaseError, match=r"There is no folder .*nowhere"):
        read_folder(tmp_path / "nowhere")


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for device in ("warp", "cuda:99", ""):
        assert code_of(resolve_device, device) == "device.unavailable"
