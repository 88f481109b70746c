"""What every tokenizer of the registry keeps: there and back, holes, constants, units, its state, the order of time."""

import itertools

import pytest
import torch

from tsar.errors import ModelError
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.model.files import model_files, read_decoder
from tsar.tokenizers import TOKENIZERS, VocabularyTokenizer
from tsar.tokenizers.levels import Digits, TwoLevel
from tsar.tokenizers.quantize import LIMIT, QuantileBins, Quantize
from tsar.tokenizers.vocabulary import EOS, NUM_SPECIALS, PAD
from tsar.training.release import stored

P, L = 4, 32
HAS_VOCABULARY = [name for name, kind in TOKENIZERS.items() if issubclass(kind, VocabularyTokenizer)]
vocabularies = pytest.mark.parametrize("name", HAS_VOCABULARY)


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks with a gap in the first row and a late start of the second."""
    values = torch.randn(3, L, generator=torch.Generator().manual_seed(3), dtype=torch.float64).cumsum(1)
    seen = torch.ones(3, L, dtype=torch.bool)
    seen[0, 9:14] = False
    seen[1, :10] = False
    return values, seen


def make(name: str, **changes):
    kind = TOKENIZERS[name]
    if not issubclass(kind, VocabularyTokenizer):
        return kind(patch_length=P, scaling="window")
    made = kind(**{"num_bins": 1000, **changes})
    made.fit(torch.randn(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    return made


def there_and_back(tokenizer, values, seen) -> torch.Tensor:
    tokens = tokenizer.encode(values, seen)
    if isinstance(tokenizer, VocabularyTokenizer):
        return tokenizer.decode(tokens.patches[..., 0], tokens.state.scale[:, :1])
    return tokens.state.denormalize(tokens.patches[..., : tokenizer.patch_length]).reshape(values.shape)


def half_gaps(tokenizer, z: torch.Tensor) -> torch.Tensor:
    """Half the way between the two values beside each z that the vocabulary can say."""
    said = tokenizer.join(torch.tensor(list(itertools.product(*(range(size) for size in tokenizer.sizes)))))
    said = said.unique()
    place = torch.searchsorted(said, z).clamp(1, len(said) - 1)
    return (said[place] - said[place - 1]) / 2


@pytest.mark.parametrize("name", TOKENIZERS)
class TestContract:
    def test_round_trip(self, name):
        tokenizer, (values, seen) = make(name), windows()
        error = (there_and_back(tokenizer, values, seen) - values).abs()[seen]
        if name not in HAS_VOCABULARY:
            assert (error <= 1e-9).all()
            return
        scale = tokenizer.find_scale(values, seen)
        assert not tokenizer.clipped(values, seen).any()
        assert (error <= (half_gaps(tokenizer, values / scale) * scale)[seen] * (1 + 1e-9) + 1e-12).all()

    def test_what_is_missing_does_not_matter(self, name):
        tokenizer, (values, seen) = make(name), windows()
        plain = tokenizer.encode(values, seen)
        for poison in (torch.nan, torch.inf, -1e300):
            poisoned = tokenizer.encode(torch.where(seen, values, poison), seen)
            assert torch.equal(plain.patches, poisoned.patches)
        back = there_and_back(tokenizer, values, seen)
        if name in HAS_VOCABULARY:
            assert torch.equal(back.isnan(), ~seen)

    def test_nothing_observed(self, name):
        tokens = make(name).encode(torch.full((2, L), torch.nan), torch.zeros(2, L, dtype=torch.bool))
        assert torch.isfinite(tokens.patches.double()).all()
        assert tokens.mask is None or not tokens.mask.any()

    @pytest.mark.parametrize("level", [0.0, 7.3, -1e6])
    def test_constant_series(self, name, level):
        tokenizer, values = make(name), torch.full((1, L), level, dtype=torch.float64)
        back = there_and_back(tokenizer, values, torch.ones(1, L, dtype=torch.bool))
        assert len(back.unique()) == 1
        assert float((back - values).abs().max()) <= 0.02 * max(abs(level), 1.0)

    @pytest.mark.parametrize("factor", [1e-6, 3.7, 1e6])
    def test_another_unit_gives_the_same_tokens(self, name, factor):
        tokenizer, (values, seen) = make(name), windows()
        plain, other = tokenizer.encode(values, seen), tokenizer.encode(factor * values, seen)
        if name in HAS_VOCABULARY:
            assert torch.equal(plain.patches, other.patches)
        else:
            torch.testing.assert_close(plain.patches, other.patches, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            there_and_back(tokenizer, factor * values, seen)[seen] / factor,
            there_and_back(tokenizer, values, seen)[seen],
        )

    def test_state_is_saved_and_restored(self, name):
        decoder = small(name)
        if name in HAS_VOCABULARY:
            decoder.vocabulary.fit(torch.randn(5000, generator=torch.Generator().manual_seed(1)))
        weights = {key: stored(key, value) for key, value in decoder.state_dict().items()}
        again = read_decoder(model_files(decoder.config, weights), "here")
        assert again.config == decoder.config
        for one, other in zip(encoded(decoder), encoded(again), strict=True):
            assert torch.equal(one, other)

    def test_the_future_changes_no_token_at_a_known_scale_and_period(self, name):
        if name == "gap":
            pytest.skip("sees both sides, as promised")
        values, seen = windows()
        changed = torch.where(torch.arange(L) >= 20, -7 * values, values)
        if name not in HAS_VOCABULARY:
            tokenizer = TOKENIZERS[name](patch_length=P, scaling="causal")
            period = tokenizer.find_period(values, seen)  # the one thing that may be found in the whole window
            first, second = (tokenizer.encode(one, seen, period).patches for one in (values, changed))
            assert torch.equal(first[:, :5], second[:, :5])
            assert not torch.equal(first, second)
            return
        tokenizer, scale = make(name), torch.ones(3, 1, dtype=torch.float64)
        first, second = (tokenizer.encode(one, seen, scale=scale).patches for one in (values, changed))
        upto = 20 * tokenizer.tokens_per_point
        assert torch.equal(first[:, :upto], second[:, :upto])
        assert not torch.equal(first, second)


def small(name: str) -> Decoder:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    if name in HAS_VOCABULARY:
        part = {"tokenizer": name, "head": "categorical", "patch_length": 1, "output_length": 1, "scaling": "window"}
        return Decoder(ModelConfig(**sizes, **part, num_bins=64, context_length=L)).eval()
    return Decoder(ModelConfig(**sizes, tokenizer=name, patch_length=P, output_length=8, context_length=L)).eval()


def encoded(decoder: Decoder) -> list[torch.Tensor]:
    tokens = decoder.tokenizer.encode(*windows())
    return [tokens.patches, tokens.state.scale]


@vocabularies
def test_ids_stand_where_they_are_allowed(name):
    tokenizer, (values, seen) = make(name), windows()
    ids = tokenizer.encode(values, seen).patches[..., 0].unflatten(1, (L, -1))
    assert ids.shape[-1] == tokenizer.tokens_per_point
    spans = [tokenizer.allowed(step) for step in range(tokenizer.tokens_per_point)]
    assert (spans[0].start, spans[-1].stop) == (NUM_SPECIALS, tokenizer.vocabulary_size)
    assert all(one.stop == other.start for one, other in itertools.pairwise(spans))
    for step, span in enumerate(spans):
        said = ids[..., step]
        assert ((said >= span.start) & (said < span.stop))[seen].all()
        assert (said[~seen] == PAD).all()


@vocabularies
def test_specials_and_misplaced_ids_have_no_value(name):
    tokenizer = make(name)
    ids = tokenizer.encode(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)).patches[..., 0]
    ids[0, -1] = EOS
    assert tokenizer.decode(ids, torch.ones(1, 1)).isnan().tolist() == [[False, True]]


@vocabularies
def test_what_is_clipped_is_reported(name):
    tokenizer = make(name)
    low, high = tokenizer.bounds
    values = torch.tensor([[low * 1.5, 0.0, high * 0.999, high * 1.01, torch.nan]], dtype=torch.float64)
    seen, scale = torch.isfinite(values), torch.ones(1, 1)
    assert tokenizer.clipped(values, seen, scale).tolist() == [[True, False, False, True, False]]
    back = tokenizer.decode(tokenizer.ids(values, seen, scale), scale)
    assert back[0, [0, 3]].tolist() == pytest.approx([low, high])


def test_chronos_defaults():
    tokenizer = Quantize()
    assert (tokenizer.num_bins, LIMIT, tokenizer.vocabulary_size) == (4096, 15.0, 4098)
    assert tokenizer.find_scale(*(torch.tensor([[1.0, -3.0, 5.0]]), torch.ones(1, 3, dtype=torch.bool))) == 3
    centres = tokenizer.join(torch.arange(4096).unsqueeze(-1))
    torch.testing.assert_close(centres, torch.linspace(-15, 15, 4096, dtype=torch.float64))


def test_fitted_bins_are_equally_used():
    tokenizer = QuantileBins(10)
    sample = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    tokenizer.fit(sample)
    counts = torch.bincount(tokenizer.split(sample)[:, 0], minlength=10) / len(sample)
    assert float(counts.max()) < 0.25
    even = torch.bincount(Quantize(10).split(sample)[:, 0], minlength=10) / len(sample)
    assert float(even.max()) > 0.6
    tokenizer.fit(torch.zeros(100))
    assert (tokenizer.centres.diff() > 0).all(), "centres stay apart whatever the sample"


def test_two_levels_and_digits_are_what_they_say():
    assert TwoLevel().sizes == (64, 64)
    two = TwoLevel().split(torch.tensor([-15.0, 15.0]))
    assert two.tolist() == [[0, 0], [63, 63]]
    digits = Digits().split(torch.tensor([-20.43, 9.996, 0.0, 1e9], dtype=torch.float64))
    assert digits.tolist() == [[1, 4, 2, 0, 4], [0, 4, 1, 0, 0], [0, 0, 0, 0, 0], [0, 5, 9, 9, 9]]
    assert Digits().join(digits).tolist() == pytest.approx([-20.4, 10.0, 0.0, 999.0])


@pytest.mark.parametrize(
    "change",
    [
        {"head": "quantile"}, {"patch_length": 2, "output_length": 2}, {"scaling": "causal"}, {"period": True},
        {"num_bins": 1}, {"num_samples": 0}, {"temperature": 0.0}, {"top_k": -1}, {"tokenizer": "words"},
    ],
)  # fmt: skip
def test_a_vocabulary_that_cannot_be_is_refused(change):
    fitting = {"tokenizer": "quantize", "head": "categorical", "patch_length": 1, "output_length": 1}
    with pytest.raises(ModelError) as caught:
        ModelConfig(**{**fitting, "scaling": "window", **change})
    assert caught.value.code == "model.bad_config"
