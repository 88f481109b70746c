"""Diffusion head: a small network turns noise into the points of a patch, given what the trunk has understood.

Denoising diffusion (Ho et al., 2020) per patch, as in TimeDiff (Shen & Kwok, 2023) and GPD (Yang et al., 2024). As in
CARD (Han et al., 2022) a location and a unit of each point are learned beside it, and what diffuses is the deviation
from them: a small network then need not know the level. The points of a patch are drawn together, so draws are paths.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from tsar.heads.base import AnchoredHead
from tsar.heads.empirical import empirical_quantiles
from tsar.heads.quantile import QuantileLaw

LEAST_SCALE = 1e-4
WIDTH = 128
NUM_STEPS = 16
NUM_DRAWS = 128
NUM_ANGLES = 8
LOCATING = 2.0
"""Weight of the density at location and unit beside the error of denoising; with less of it, units grow too large."""

LIMIT = 8.0
"""Deviations beyond this many units are learned as if they were that large."""


class DiffusionHead(AnchoredHead):
    """Location and unit of each point, and a condition of the denoising network."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int = 1) -> None:
        super().__init__(output_length, 2)
        self.points = nn.Linear(d_model, output_length * 2)
        self.gate_unit = nn.Linear(d_model, 2)
        self.condition = nn.Linear(d_model, WIDTH)
        self.denoiser = Denoiser(output_length)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: at first around half the anchor."""
        self.start_at_half_the_anchor(self.points)
        nn.init.zeros_(self.points.bias)
        nn.init.zeros_(self.denoiser.output.weight)

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return locations, units and the condition, end to end (B, T, 2 output_length + WIDTH)."""
        raw, start, unit = self.read(hidden_BTD, self.points, anchor)
        loc = start + unit * raw[..., :1]
        scale = LEAST_SCALE + unit * F.softplus(raw[..., 1:])
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            condition = self.condition(hidden_BTD.to(self.condition.weight.dtype))
        return torch.cat([loc.squeeze(-1), scale.squeeze(-1), condition], -1)

    def law(self, parameters: Tensor, levels: Tensor) -> DiffusionLaw:
        """The law of these parameters."""
        loc, scale, condition = torch.split(parameters, [self.output_length, self.output_length, WIDTH], -1)
        return DiffusionLaw(loc, scale, condition, self.denoiser, levels)


class Denoiser(nn.Module):
    """Residual MLP from noisy points, the time and a condition to the velocity (Salimans & Ho, 2022)."""

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.points = nn.Linear(num_points, WIDTH)
        self.time = nn.Linear(2 * NUM_ANGLES, WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.output = nn.Linear(WIDTH, num_points)

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Return the velocity (…, P) at noisy points (…, P), times (…, 1) in [0, 1] and conditions (…, WIDTH)."""
        angle = time * (torch.pi * torch.arange(NUM_ANGLES, device=time.device, dtype=time.dtype))
        with torch.autocast(noisy.device.type, enabled=False):
            x = self.points(noisy) + self.time(torch.cat([angle.cos(), angle.sin()], -1)) + condition
            for layer in self.hidden:
                x = x + layer(F.silu(x))
            velocity: Tensor = self.output(F.silu(x))
        return velocity


class DiffusionLaw:
    """Laws of patches of points, known by what the denoiser makes of noise.

    Parameters
    ----------
    loc, scale
        (…, P) in z.
    condition
        (…, WIDTH).
    denoiser
        The network.
    levels
        (Q,) those of the model's config.

    Notes
    -----
    Nothing is random but `sample`: training takes times and noise from the digits of the target, so that a run that was
    interrupted goes on alike, and quantiles come from the same `NUM_DRAWS` noises everywhere.
    """

    def __init__(self, loc: Tensor, scale: Tensor, condition: Tensor, denoiser: Denoiser, levels: Tensor) -> None:
        self.loc, self.scale, self.condition, self.denoiser, self.levels = loc, scale, condition, denoiser, levels

    def loss(self, target: Tensor) -> Tensor:
        """Squared error of the velocity (…, P), plus the negative log density of a Laplace law at location and unit."""
        deviation = (target - self.loc) / self.scale
        clean = deviation.clamp(-LIMIT, LIMIT)
        noise, time = noise_from_digits(target)
        signal, spread = signal_and_noise(time)
        velocity = self.denoiser(signal * clean + spread * noise, time, self.condition)
        error: Tensor = (velocity - (signal * noise - spread * clean)) ** 2
        return error + LOCATING * (deviation.abs() + self.scale.log())

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…, P) of each point by itself, estimated from the quantiles of the draws."""
        return QuantileLaw(self.quantile(self.levels), self.levels).log_prob(target)

    def quantile(self, levels: Tensor) -> Tensor:
        """Empirical quantiles (…, P, Q) of `NUM_DRAWS` draws from fixed noise, ascending."""
        noise = _even_noise(self.loc.shape[-1]).to(self.loc)
        shape = (NUM_DRAWS, *[1] * (self.loc.dim() - 1), self.loc.shape[-1])
        draws = self._denoise(noise.view(shape).expand(NUM_DRAWS, *self.loc.shape))
        return empirical_quantiles(draws.movedim(0, -1), levels)

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Draws (num_samples, …, P); the points of a patch belong together."""
        shape = (num_samples, *self.loc.shape)
        return self._denoise(torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device))

    def _denoise(self, x: Tensor) -> Tensor:
        """From noise (S, …, P) to points, in `NUM_STEPS` deterministic steps (DDIM, Song et al., 2021)."""
        condition = self.condition.expand(len(x), *self.condition.shape)
        times = torch.linspace(1, 0, NUM_STEPS + 1, device=x.device, dtype=x.dtype)
        for now, then in pairwise(times):
            signal, spread = signal_and_noise(now)
            velocity = self.denoiser(x, now.expand(*x.shape[:-1], 1), condition)
            clean = (signal * x - spread * velocity).clamp(-LIMIT, LIMIT)
            noise = spread * x + signal * velocity
            signal, spread = signal_and_noise(then)
            x = signal * clean + spread * noise
        return self.loc + self.scale * x


def signal_and_noise(time: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the points and of the noise at times in [0, 1]: the cosine schedule (Nichol & Dhariwal, 2021)."""
    return torch.cos(time * (math.pi / 2)), torch.sin(time * (math.pi / 2))


@torch.no_grad()
def noise_from_digits(target: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise (…, P) and evenly spread times (…, 1) that are a hash of the target (…, P)."""
    index = torch.arange(target.shape[-1], device=target.device, dtype=torch.float64)
    digits = target.double() * 1000003.0 + index * 0.6180339887
    uniform = [_fraction(torch.sin(_fraction(digits * factor) * 6.2831853) * 43758.5453) for factor in (1.0, 1.7320508)]
    size = torch.sqrt(-2 * torch.log(uniform[0].clamp_min(1e-12)))  # Box & Muller
    noise = size * torch.cos(2 * torch.pi * uniform[1])
    time = _fraction(torch.sin(_fraction(digits.sum(-1, keepdim=True) * 2.2360680) * 6.2831853) * 43758.5453)
    return noise.to(target.dtype), time.to(target.dtype)


def _fraction(x: Tensor) -> Tensor:
    return x - torch.floor(x)


def _even_noise(num_points: int) -> Tensor:
    """Noise (NUM_DRAWS, P) from a Sobol sequence, which fills the space more evenly than chance does."""
    engine = torch.quasirandom.SobolEngine(num_points, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    shares = engine.draw(NUM_DRAWS, dtype=torch.float64)
    noise: Tensor = torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6))
    return noise
