"""Tokenizers with a vocabulary, their head, and forecasts from sampled paths."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.errors import ModelError
from tsar.heads.categorical import CategoricalLaw
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder
from tsar.model.files import model_files, read_decoder
from tsar.token_rollout import sample_paths, uniforms
from tsar.tokenizers import TOKENIZERS
from tsar.tokenizers.vocabulary import LIMIT, NUM_SPECIALS, PAD

NAMES = [name for name, kind in TOKENIZERS.items() if kind.has_vocabulary]
SIZES = {
    "d_model": 16, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "d_ff": 16, "patch_length": 1,
    "output_length": 1, "context_length": 48, "head": "categorical", "num_samples": 4,
}  # fmt: skip
LEVELS = torch.tensor([0.1, 0.5, 0.9])


def small(name: str = "quantize", **options) -> Decoder:
    """A decoder whose layers are not silent."""
    torch.manual_seed(0)
    size = {"vocabulary_size": 64} if name in ("quantize", "quantile_bins") else {}
    decoder = Decoder(ModelConfig(**{**SIZES, "tokenizer": name, **size, **options}))
    for weight in decoder.parameters():
        torch.nn.init.normal_(weight, std=0.4 if weight.ndim > 1 else 0.2)
    return decoder.eval().requires_grad_(False)


def waves(rows: int = 3, length: int = 40) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.tensor(3 * np.sin(np.arange(length) / 4 + rng.random((rows, 1))) + rng.normal(size=(rows, length)))


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    """What every tokenizer with a vocabulary promises."""

    def test_a_value_comes_back_within_half_a_step(self, name):
        tokenizer = TOKENIZERS[name]()
        values = waves(4, 300) * torch.tensor([1e-9, 1.0, 50.0, 1e9])[:, None]
        seen = torch.ones_like(values, dtype=torch.bool)
        tokens = tokenizer.encode(values, seen)
        back = tokenizer.decode(tokens.patches, tokens.state.scale[:, 0])
        scale = values.abs().mean(1, keepdim=True)
        error = ((back - values) / scale).abs()
        size = (values / scale).abs()
        if name == "digits":  # three digits
            assert (error <= 0.0051 * 10 ** torch.floor(torch.log10(size.clamp_min(1e-4)))).all()
        elif name == "quantile_bins":  # narrow in the middle
            assert (error[size < 1] < 0.005).all()
        else:
            assert (error <= LIMIT / 4000).all()

    def test_what_is_missing_stays_missing(self, name):
        tokenizer = TOKENIZERS[name]()
        values = waves()
        values[0, :5] = values[1, 20:23] = torch.nan
        seen = torch.isfinite(values)
        tokens = tokenizer.encode(values, seen)
        back = tokenizer.decode(tokens.patches, tokens.state.scale[:, 0])
        assert torch.equal(torch.isnan(back), ~seen)
        words = tokenizer.tokens_per_point
        assert (tokens.patches.view(3, -1, words)[~seen] == PAD).all()
        assert torch.equal(tokens.mask.view(3, -1, words).any(-1), seen.to(torch.uint8).cummax(1).values.bool())

    def test_every_word_is_allowed_where_it_stands(self, name):
        tokenizer = TOKENIZERS[name]()
        ids = tokenizer.spell(torch.linspace(-20, 20, 5001))
        assert ids.shape == (5001, tokenizer.tokens_per_point)
        assert ids.min() >= NUM_SPECIALS
        assert ids.max() < tokenizer.vocabulary_size
        for place in range(tokenizer.tokens_per_point):
            assert tokenizer.allowed[place][ids[:, place]].all()
        assert not tokenizer.allowed[:, :NUM_SPECIALS].any()

    def test_ids_do_not_depend_on_the_unit(self, name):
        tokenizer, values = TOKENIZERS[name](), waves()
        seen = torch.ones_like(values, dtype=torch.bool)
        assert torch.equal(tokenizer.encode(values, seen).patches, tokenizer.encode(values * 1024, seen).patches)

    def test_what_is_clipped_is_told(self, name):
        values = torch.ones(1, 200, dtype=torch.float64)
        values[0, 7] = 1e4
        tokenizer, seen = TOKENIZERS[name](), torch.ones(1, 200, dtype=torch.bool)
        assert tokenizer.clipped(values, seen).nonzero().tolist() == [[0, 7]]

    def test_a_release_comes_back_and_forecasts_any_horizon(self, name):
        decoder = small(name)
        assert num_parameters(decoder.config) == sum(weight.numel() for weight in decoder.parameters())
        loaded = read_decoder(model_files(decoder.config, decoder.state_dict()), "here")
        context = waves().numpy()
        context[1, :9] = context[2, 30:] = np.nan
        for horizon in (1, 7, 30):
            quantiles = decode(loaded, context, horizon)
            assert quantiles.shape == (3, horizon, 9)
            assert np.isfinite(quantiles).all()
            assert (np.diff(quantiles, axis=-1) >= 0).all()
            np.testing.assert_array_equal(quantiles, decode(decoder, context, horizon))

    def test_cached_paths_are_those_without_a_cache(self, name):
        decoder, values = small(name), waves()
        values[0, :6] = torch.nan
        seen = torch.isfinite(values)
        cached = sample_paths(decoder, values, seen, 4)
        torch.testing.assert_close(sample_paths(decoder, values, seen, 4, use_cache=False), cached)

    def test_batch_is_one_by_one(self, name):
        decoder, context = small(name), waves().numpy()
        context[0, :6] = np.nan
        together = decode(decoder, context, 5)
        alone = np.concatenate([decode(decoder, context[row : row + 1], 5) for row in range(3)])
        np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_constant_and_empty_windows():
    context = np.full((2, 20), 7.3)
    context[1] = np.nan
    quantiles = decode(small(), context, 3)
    assert (quantiles[0] == 7.3).all()
    assert np.isnan(quantiles[1]).all()


def test_a_forecast_is_odd_in_law_only_but_scales():
    decoder, context = small(), waves().numpy()
    np.testing.assert_array_equal(decode(decoder, 8 * context, 6), 8 * decode(decoder, context, 6))


def test_a_cold_model_repeats_its_best_word():
    decoder = small(top_k=1)
    values = waves()
    paths = sample_paths(decoder, values, torch.ones_like(values, dtype=torch.bool), 6)
    assert (paths == paths[0]).all()
    other = Decoder(replace(decoder.config, top_k=0))
    other.load_state_dict(decoder.state_dict())
    assert not (sample_paths(other.eval(), values, torch.ones_like(values, dtype=torch.bool), 6) == paths).all()


def test_random_numbers_fill_their_shares():
    drawn = uniforms(3, 20, torch.device("cpu"))
    assert torch.equal((drawn * 20).floor().sort().values, torch.arange(20.0))
    assert not torch.equal(drawn, uniforms(4, 20, torch.device("cpu")))


class TestLaw:
    """A categorical law in closed form."""

    logits = torch.tensor([1.0, 0.0, 2.0, -torch.inf, 1.5])

    def test_probabilities(self):
        law = CategoricalLaw(self.logits)
        probs = law.log_prob(torch.tensor(2)).exp()
        torch.testing.assert_close(probs, self.logits.softmax(-1)[2])
        torch.testing.assert_close(law.loss(torch.tensor(2)), -probs.log())

    def test_quantiles_are_where_the_sum_is_reached(self):
        reached = self.logits.softmax(-1).cumsum(-1)
        law = CategoricalLaw(self.logits)
        assert law.quantile(LEVELS).tolist() == [int((reached <= level).sum()) for level in LEVELS]

    def test_draws_follow_the_law(self):
        law = CategoricalLaw(self.logits)
        drawn = law.sample(torch.Generator().manual_seed(0), 20_000)
        share = torch.bincount(drawn, minlength=5) / 20_000
        torch.testing.assert_close(share, self.logits.softmax(-1), atol=0.012, rtol=0)
        even = law.at((torch.arange(20_000) + 0.5) / 20_000)
        torch.testing.assert_close(
            torch.bincount(even, minlength=5) / 20_000, self.logits.softmax(-1), atol=1e-4, rtol=0
        )

    def test_temperature_and_top_k_narrow(self):
        law = CategoricalLaw(self.logits)
        only = law.sample(torch.Generator().manual_seed(0), 500, top_k=2)
        assert set(only.tolist()) == {2, 4}
        cold = law.sample(torch.Generator().manual_seed(0), 500, temperature=0.05)
        assert set(cold.tolist()) == {2}

    def test_gradients(self):
        logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
        target = torch.tensor([0, 4, 2])
        assert torch.autograd.gradcheck(lambda x: CategoricalLaw(x).loss(target), (logits,))


@pytest.mark.parametrize(
    "wrong", [{"head": "quantile"}, {"patch_length": 8, "output_length": 8}, {"tokenizer": "patch"}, {"temperature": 0}]
)
def test_parts_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ModelError):
        ModelConfig(**{**SIZES, "tokenizer": "quantize", **wrong})
