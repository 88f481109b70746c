"""A model with its options of inference: panel -> windows -> tokens -> model -> distribution, and refinements of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tsar.decode.kept import recall
from tsar.decode.panel import decode_panel
from tsar.frame import Panel
from tsar.freq import season_length
from tsar.logging import progress_bar
from tsar.model.decoder import Decoder
from tsar.refining.context import follow_neighbours
from tsar.refining.ensemble import join_classical
from tsar.refining.history import coarse_rate, downsample, follow_coarse
from tsar.refining.seasonal import follow_period
from tsar.types import Decode, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """How a panel is forecast.

    Attributes
    ----------
    model
        The decoder, in evaluation mode.
    context_lengths, symmetrize, rows_per_batch
        As in `tsar.decode.decode_panel`.
    downsample, follow_period, ensemble
        As in `tsar.Forecaster`.
    num_channels
        So many neighbouring series of a panel that is forecast are channels of one item, see `tsar.decode`.
    """

    model: Decoder
    context_lengths: tuple[int, ...]
    symmetrize: bool = True
    rows_per_batch: int | None = None
    downsample: int | str = "auto"
    follow_period: bool = False
    ensemble: str | None = None
    num_channels: int = 1

    @property
    def levels(self) -> FloatArray:
        """Levels (Q,) of the forecasts."""
        return np.asarray(self.model.config.quantile_levels)

    def at(self, freq: str | int | None) -> Inference:
        """Return this for series of a frequency, for models that are told it (``config.freq_token``)."""
        return replace(self, model=self.model.at_frequency(freq))

    def decode(
        self,
        values: FloatArray,
        offsets: IntArray,
        prediction_length: int,
        *,
        num_channels: int = 1,
        advance: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Forecast (I, F, Q) any series (N,), (I + 1,) by the model alone."""
        return decode_panel(
            self.model, values, offsets, prediction_length, context_lengths=self.context_lengths,
            symmetrize=self.symmetrize, rows_per_batch=self.rows_per_batch, num_channels=num_channels, advance=advance,
        )  # fmt: skip

    def forecast(
        self, panel: Panel, prediction_length: int, *, examples: Panel | None = None, neighbours: int = 0
    ) -> FloatArray:
        """Forecast (I, F, Q) a panel: by the model, then by what a look at the whole history adds.

        Parameters
        ----------
        panel
            I items.
        prediction_length
            F.
        examples, neighbours
            As in `Forecaster.predict`.
        """
        with progress_bar(total=panel.num_items, desc="forecast", unit="series", delay=2.0) as bar:
            quantiles = self.decode(
                panel.values, panel.offsets, prediction_length, num_channels=self.num_channels, advance=bar.update
            )
        quantiles = self._follow_period(panel.values, panel.offsets, self._follow_coarse(panel, quantiles))
        season = season_length(panel.freq)
        if self.ensemble == "classical":
            decode = partial(self.decode, prediction_length=prediction_length)
            quantiles = join_classical(quantiles, panel.values, panel.offsets, season, decode)
        return follow_neighbours(
            quantiles, panel, partial(decode_panel, self.model, context_lengths=self.context_lengths),
            examples=examples, neighbours=neighbours, season=max(season, 1),
        )  # fmt: skip

    def decode_followed(self, values: FloatArray, offsets: IntArray, prediction_length: int) -> FloatArray:
        """Forecast (I, F, Q) as `decode` does, with periods that the model misses: what backtests should look at."""
        return self._follow_period(values, offsets, self.decode(values, offsets, prediction_length))

    def recalled(self, *, followed: bool = False) -> Decode:
        """Return `decode`, or `decode_followed`, which within `keep_forecasts` forecasts nothing twice."""
        options = (self.model, self.context_lengths, self.symmetrize, followed and self.follow_period)
        return recall(self.decode_followed if followed else self.decode, options)

    def reach(self, freq: str | None) -> int:
        """Points of history that a forecast depends on, with the coarse view."""
        return max(self.context_lengths) * self._coarse_rate(freq)

    def _follow_period(self, values: FloatArray, offsets: IntArray, quantiles: FloatArray) -> FloatArray:
        if not self.follow_period:
            return quantiles
        quickly = replace(self, symmetrize=False).decode  # to compare with, not to forecast
        return follow_period(quantiles, values, offsets, quickly)

    def _coarse_rate(self, freq: str | None) -> int:
        is_auto = self.downsample == "auto"
        return coarse_rate(season_length(freq), max(self.context_lengths)) if is_auto else int(self.downsample)

    def _follow_coarse(self, panel: Panel, quantiles: FloatArray) -> FloatArray:
        """Follow a coarse view of seasons that are too long for the context."""
        longest, horizon = max(self.context_lengths), quantiles.shape[1]
        rate = self._coarse_rate(panel.freq)
        if rate == 1:
            return quantiles
        patch = self.model.config.patch_length  # fewer coarse points say nothing about the level
        coarse = downsample(panel.values, panel.offsets, rate, longer_than=longest, at_least=patch)
        if not len(coarse[0]):
            return quantiles
        level = self.decode(*coarse, -(-horizon // rate))
        low, high = (bound.reduceat(panel.values, panel.offsets[:-1]) for bound in (np.fmin, np.fmax))
        level[low == high] = np.nan  # means of equal numbers are rounded: a constant stays what it is
        return follow_coarse(quantiles, level, rate)
