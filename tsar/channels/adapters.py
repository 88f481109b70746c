"""Adapters: maps of the C channels of an item to K latent ones, which a model of single series forecasts, and back.

The idea is AdaPTS (Benechehab et al., 2025). An adapter has ``fit(rows)``, ``transform(rows)`` and ``inverse(latent)``;
one point is one row, as in scikit-learn. Rows are standardised channel by channel and item by item before (loc and
scale of the history, `tsar.channels.joint`), and complete. An adapter that also has ``sample(latent, rng)`` answers
with draws instead, whose spread joins that of the forecast.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, clone

from tsar.arrays import read_arrays
from tsar.errors import OptionError
from tsar.types import FloatArray


class ChannelAdapter(Protocol):
    """What an adapter must have; rows (N, C), latent (N, K)."""

    def fit(self, rows: FloatArray) -> Any:
        """Learn the map from complete rows."""

    def transform(self, rows: FloatArray) -> FloatArray:
        """Map rows to latent ones."""

    def inverse(self, latent: FloatArray) -> FloatArray:
        """Map latent rows back."""


class LinearMap(BaseEstimator):  # type: ignore[misc]
    """A linear map; its subclasses say which.

    Parameters
    ----------
    num_latents
        K, at most C; None: C, with which nothing is lost.

    Attributes
    ----------
    forward_ : (K, C) float64
        To the latent channels.
    backward_ : (C, K) float64
        Back.
    """

    def __init__(self, num_latents: int | None = None) -> None:
        self.num_latents = num_latents

    def fit(self, rows: FloatArray) -> LinearMap:
        """Learn the map; with fewer than 3 C rows it is the identity."""
        size, channels = rows.shape
        number = count_latents(self.num_latents, channels)
        if size < 3 * channels:
            self.forward_, self.backward_ = np.eye(channels), np.eye(channels)
            return self
        forward, backward = self._find(rows, np.atleast_2d(np.cov(rows.T)) + 1e-6 * np.eye(channels))
        self.forward_, self.backward_ = forward[:number], backward[:, :number]
        return self

    def transform(self, rows: FloatArray) -> FloatArray:
        """Map rows (N, C) to latent ones (N, K)."""
        latent: FloatArray = rows @ self.forward_.T
        return latent

    def inverse(self, latent: FloatArray) -> FloatArray:
        """Map latent rows (N, K) back (N, C)."""
        rows: FloatArray = latent @ self.backward_.T
        return rows

    def get_state(self) -> dict[str, FloatArray]:
        """Return what was learned."""
        return {"forward": self.forward_, "backward": self.backward_}

    def set_state(self, state: Mapping[str, FloatArray]) -> None:
        """Take what `get_state` returned."""
        self.forward_, self.backward_ = state["forward"], state["backward"]

    def _find(self, rows: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the whole map (C, C) and its inverse, the latents to keep first."""
        raise NotImplementedError


class IdentityAdapter(LinearMap):
    """Every channel by itself, also where others are missing."""

    def fit(self, rows: FloatArray) -> LinearMap:
        """There is nothing to learn; ``option.invalid`` for fewer latents than channels."""
        channels = rows.shape[1]
        if count_latents(self.num_latents, channels) < channels:
            text = f"The identity keeps all {channels} channels, so num_latents cannot be {self.num_latents!r}."
            raise OptionError(text, code="option.invalid", hint='{"kind": "pca", "num_latents": …} keeps fewer.')
        return super().fit(rows)

    def transform(self, rows: FloatArray) -> FloatArray:
        """Return the rows (N, C) as they are; a product with ones and zeros would spread what is missing."""
        return rows

    def inverse(self, latent: FloatArray) -> FloatArray:
        """Return the rows (N, C) as they are."""
        return latent

    def _find(self, rows: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.eye(len(covariance)), np.eye(len(covariance))


class PcaAdapter(LinearMap):
    """Principal components, those of most variance first."""

    def _find(self, rows: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        forward = np.linalg.eigh(covariance)[1].T[::-1]
        return forward, forward.T


class LinearAdapter(LinearMap):
    """The combinations that are easiest to forecast: those of the largest autocorrelation at lag one, first.

    These are the maximum autocorrelation factors of Switzer & Green (1984): combinations of unit variance, not
    correlated with each other, whose steps have the least variance. With K < C a channel comes back as its regression
    on the latents.
    """

    def _find(self, rows: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        forward = eigh(np.atleast_2d(np.cov(np.diff(rows, axis=0).T)), covariance)[1].T
        return forward, np.linalg.inv(forward)


class VaeAdapter(BaseEstimator):  # type: ignore[misc]
    """A variational autoencoder: latent channels with a law, and several decoders that agree where there were data.

    Encoder and decoders are the principal components plus small networks. Each decoder has a fixed random network
    beside the one that is trained (randomised priors, Osband et al., 2018): what they learn cancels it on the training
    range, and off that range the decoders part. `sample` draws the decoder and the noise of the channels, so that the
    spread says how well a row is known.

    Parameters
    ----------
    num_latents
        K, at most C; None: C.
    hidden
        Width of the networks.
    steps
        Training steps of 256 rows.
    members
        Decoders.
    random_state
        Seed of weights, batches and noise.

    Attributes
    ----------
    weights_ : dict of str to ndarray
        Of all networks.
    """

    def __init__(
        self,
        num_latents: int | None = None,
        hidden: int = 32,
        steps: int = 250,
        members: int = 5,
        random_state: int = 0,
    ) -> None:
        self.num_latents = num_latents
        self.hidden = hidden
        self.steps = steps
        self.members = members
        self.random_state = random_state

    def fit(self, rows: FloatArray) -> VaeAdapter:
        """Train encoder and decoders by the evidence lower bound; with fewer than 3 C rows K is C and nothing is."""
        enough = len(rows) >= 3 * rows.shape[1]
        axes = PcaAdapter(self.num_latents).fit(rows)
        scale = np.maximum(axes.transform(rows).std(0), 1e-3) if enough else np.ones(rows.shape[1])
        generator = torch.Generator().manual_seed(self.random_state)
        maps = axes.forward_ / scale[:, None], axes.backward_ * scale
        network = _Vae(*maps, self.hidden, self.members, generator)
        if enough:
            network.train_on(torch.as_tensor(rows), self.steps, generator)
        self.weights_ = {name: weight.numpy() for name, weight in network.state_dict().items()}
        return self

    def transform(self, rows: FloatArray) -> FloatArray:
        """Map rows (N, C) to the means of their latents (N, K)."""
        with torch.no_grad():
            latent: FloatArray = self._network().encode(torch.as_tensor(rows))[0].numpy()
        return latent

    def inverse(self, latent: FloatArray) -> FloatArray:
        """Map latents (N, K) back (N, C): the mean of the decoders."""
        with torch.no_grad():
            rows: FloatArray = self._network().decode(torch.as_tensor(latent)).mean(0).numpy()
        return rows

    def sample(self, latent: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw a row (N, C) for each latent (N, K): by one of the decoders, with the noise of the channels."""
        network = self._network()
        with torch.no_grad():
            decoded = network.decode(torch.as_tensor(latent)).numpy()
            noise = network.log_noise.exp().numpy()
        member = rng.integers(len(decoded), size=len(latent))
        rows: FloatArray = decoded[member, np.arange(len(latent))]
        return rows + noise * rng.normal(size=rows.shape)

    def get_state(self) -> dict[str, FloatArray]:
        """Return what was learned."""
        return dict(self.weights_)

    def set_state(self, state: Mapping[str, FloatArray]) -> None:
        """Take what `get_state` returned."""
        self.weights_ = dict(state)

    def _network(self) -> _Vae:
        maps = self.weights_["forward_map"], self.weights_["backward_map"]
        network = _Vae(*maps, self.hidden, self.members, torch.Generator())
        network.load_state_dict({name: torch.as_tensor(weight) for name, weight in self.weights_.items()})
        return network


class _Vae(torch.nn.Module):
    """Networks of `VaeAdapter`, around a linear map (K, C) and its opposite (C, K)."""

    PRIOR = 0.5
    """Size of the fixed networks beside the trained ones, in deviations of the channels."""

    def __init__(
        self, forward: FloatArray, backward: FloatArray, hidden: int, members: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        channels, latents = backward.shape
        self.register_buffer("forward_map", torch.as_tensor(forward.copy()))
        self.register_buffer("backward_map", torch.as_tensor(backward.copy()))
        self.encoder = _Networks(1, channels, hidden, 2 * latents, generator, output=0.0)
        self.decoders = _Networks(members, latents, hidden, channels, generator, output=0.0)
        self.priors = _Networks(members, latents, hidden, channels, generator, output=1.0).requires_grad_(False)
        self.log_noise = torch.nn.Parameter(torch.full((channels,), -1.5, dtype=torch.float64))

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(rows)[0].chunk(2, -1)
        return rows @ self.get_buffer("forward_map").T + mean, log_variance - 3.0

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Rows (M, N, C) by each decoder."""
        line = latent @ self.get_buffer("backward_map").T
        decoded: torch.Tensor = line + self.decoders(latent) + self.PRIOR * self.priors(latent)
        return decoded

    def train_on(self, rows: torch.Tensor, steps: int, generator: torch.Generator) -> None:
        optimiser = torch.optim.Adam([weight for weight in self.parameters() if weight.requires_grad], lr=5e-3)
        for _ in range(steps):
            batch = rows[torch.randint(len(rows), (256,), generator=generator)]
            mean, log_variance = self.encode(batch)
            noise = torch.randn(mean.shape, dtype=mean.dtype, generator=generator)
            latent = mean + noise * (0.5 * log_variance).exp()
            misfit = ((self.decode(latent) - batch) / self.log_noise.exp()) ** 2
            likelihood = (0.5 * misfit + self.log_noise).sum(-1).mean()
            divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1).mean()
            optimiser.zero_grad()
            (likelihood + divergence).backward()  # type: ignore[no-untyped-call]
            optimiser.step()


class _Networks(torch.nn.Module):
    """M small networks side by side, rows (N, inputs) to (M, N, outputs); `output` is the size of the last weights."""

    def __init__(
        self, members: int, inputs: int, hidden: int, outputs: int, generator: torch.Generator, *, output: float
    ) -> None:
        super().__init__()
        kind: Any = {"dtype": torch.float64, "generator": generator}
        self.first = torch.nn.Parameter(torch.randn(members, inputs, hidden, **kind) * inputs**-0.5)
        self.bend = torch.nn.Parameter(torch.randn(members, 1, hidden, **kind))
        self.last = torch.nn.Parameter(output * torch.randn(members, hidden, outputs, **kind) * hidden**-0.5)
        self.shift = torch.nn.Parameter(torch.zeros(members, 1, outputs, dtype=torch.float64))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.relu(rows @ self.first + self.bend) @ self.last + self.shift


MAPS: dict[str, Any] = {
    "identity": IdentityAdapter, "pca": PcaAdapter, "linear": LinearAdapter, "vae": VaeAdapter
}  # fmt: skip
METHODS = tuple(MAPS)


def make_adapter(wanted: Any, seed: int = 0) -> ChannelAdapter:
    """Make an unfitted adapter from a name, a mapping of ``kind`` and its options, or an adapter.

    Raises
    ------
    OptionError
        ``option.invalid`` for an unknown kind or option, or an object without ``fit``, ``transform``, ``inverse``.
    """
    if isinstance(wanted, (str, Mapping)):
        options = {"kind": wanted} if isinstance(wanted, str) else dict(wanted)
        kind = options.pop("kind", None)
        try:
            adapter = MAPS[kind](**({"random_state": seed} if kind == "vae" else {}) | options)
        except (KeyError, TypeError) as error:
            raise OptionError(
                f"channel_adapter={wanted!r} is unknown: {error}.",
                code="option.invalid",
                hint=f"kinds: {', '.join(METHODS)}; options: num_latents",
            ) from error
    elif all(callable(getattr(wanted, name, None)) for name in ("fit", "transform", "inverse")):
        adapter = clone(wanted, safe=False)
    else:
        text = f"channel_adapter must be a name, a mapping or have fit, transform and inverse, got {wanted!r}."
        raise OptionError(text, code="option.invalid")
    count_latents(getattr(adapter, "num_latents", None), None)
    result: ChannelAdapter = adapter
    return result


def describe_adapter(wanted: Any) -> Any:
    """Return the option as JSON holds it: adapters of this module as a mapping, all else as it is."""
    kinds = [kind for kind, made in MAPS.items() if type(wanted) is made]
    return {"kind": kinds[0]} | wanted.get_params() if kinds else wanted


def adapter_to_bytes(adapter: Any) -> bytes:
    """Write what an adapter of this module learned, without pickles."""
    content = io.BytesIO()
    np.savez(content, **adapter.get_state())
    return content.getvalue()


def adapter_from_bytes(wanted: Any, content: bytes) -> ChannelAdapter:
    """Make the adapter that an option asks for, with what `adapter_to_bytes` wrote."""
    adapter: Any = make_adapter(wanted)
    adapter.set_state(read_arrays(content))
    result: ChannelAdapter = adapter
    return result


def count_latents(wanted: Any, channels: int | None) -> int:
    """Return K, or raise ``option.invalid`` for what is no number from 1 to C."""
    if wanted is None:
        return channels or 0
    is_whole = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
    if not is_whole or wanted < 1 or (channels is not None and wanted > channels):
        most = "the number of targets" if channels is None else str(channels)
        raise OptionError(
            f"num_latents must be a whole number from 1 to {most}, got {wanted!r}.", code="option.invalid"
        )
    return int(wanted)
