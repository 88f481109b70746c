"""The sklearn-style face: frame -> windows -> tokens -> model -> distribution -> frame, by name, in `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from tsar.channels.joint import fit_channels, forecast_channels
from tsar.conformal import calibrate_forecaster
from tsar.constraints import normalize_constraints, read_bound_columns, resolve_bounds
from tsar.covariates import CovariateEffect, apply_effect, learn_effect
from tsar.diagnosis import diagnose_panel, warn_of_blind_windows
from tsar.errors import warn
from tsar.forecast import Forecast, validate_levels
from tsar.frame import (
    Covariates,
    Panel,
    add_calendar,
    make_forecast_frame,
    make_sample_frame,
    normalize_targets,
    read_ahead,
    target_names,
)
from tsar.freq import season_length
from tsar.hub import load_model, resolve_device
from tsar.inference import Inference
from tsar.model.adapter import Adapter
from tsar.model.decoder import Decoder
from tsar.options import LONGEST, context_lengths, covariate_columns, validate_horizon, validate_options
from tsar.refining.history import lower_bound
from tsar.saved import load_forecaster, save_forecaster
from tsar.tuning import adapt_inference, load_adapter, save_adapter, tune
from tsar.types import FloatArray
from tsar.unfitted import not_fitted
from tsar.validation import validate_count

DEFAULT_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LEARNED = ("model_", "adapter_", "fine_tune_report_", "covariate_effect_", "calibration_", "channel_adapter_")


class Forecaster(BaseEstimator):  # type: ignore[misc]
    """Forecast every series of a long frame, with bands, zero-shot or after fine-tuning.

    Parameters
    ----------
    model
        Name of a shipped release, path of a release folder, or a loaded `Decoder`.
    prediction_length
        F, steps ahead; None: one season of the data's frequency.
    quantile_levels
        Columns of the forecast besides the median; any levels in (0, 1).
    context_length
        Longest history read, in points; None: what the model was trained on. With several, the forecasts from each are
        averaged.
    freq
        Pandas alias; None: inferred from the stamps.
    id_column, timestamp_column, target
        Names of the columns. ``id_column=None``: the frame is one series. With a list of targets each is forecast, item
        by item: the answer has rows for every item and target, told apart by ``target_name``.
    device
        ``"auto"`` (GPU if there is one), ``"cpu"``, ``"cuda"``, … or a `torch.device`.
    batch_size
        Series that go through the model together; ``"auto"`` fills a fixed amount of memory. The forecast of a series
        does not depend on it beyond rounding.
    symmetrize
        Average the forecast of the series with that of its mirror image: twice the work, about one percent less error.
    downsample
        Steps averaged into one for a second, coarse forecast that the level follows half-way, so that long seasons fit
        into the context: ``"auto"`` does so for series longer than the context when it holds fewer than eight seasons
        (data of a few minutes' step), 1 never. Series of less than one patch of coarse steps are left as they are.
    follow_period
        Average the last cycles of series whose period the model misses, where that forecast the end of their own past
        clearly better (`tsar.refining.seasonal`).
    non_negative
        Clip the forecast at zero: ``"auto"`` for the series that were never negative, True for all, False for none.
    ensemble
        ``"classical"``: the median from the model, Theta and ETS together, weighted series by series by rolling
        backtests; the spread stays the model's. Some thousand times slower (faster with the extra ``classical``), on
        all cores or as many as ``joblib.parallel_config(n_jobs=…)`` allows. None: the model alone.
    past_covariates, future_covariates, static_covariates
        Names of columns that go along with the target: known up to the cutoff, known ahead (their future comes as
        `future_df` to `predict`), one value per item. Numbers, or text for categories; NaN where not known. What they
        hold beyond the model's expectation explains its errors on rolling backtests of the history; those that do not
        help there are dropped or shrunk, with a warning if nothing is left. See docs/covariates.md.
    calendar, holidays
        Make covariates from the timestamps: weekday, place in the month and year, working days; holidays of a country
        by its code (needs the package ``holidays``).
    covariate_method
        ``"ridge"``, ``"gradient_boosting"``, or ``"auto"``: the better of them on backtests.
    channel_adapter
        None forecasts each target by itself. ``"related"`` lets each learn from those of its item that run ahead of it,
        ``"group"`` from any series. ``"pca"``, ``"linear"`` (what is easiest to forecast), ``"vae"``, ``"identity"``, a
        mapping ``{"kind": "pca", "num_latents": 2}`` or an object forecast combinations of targets (`tsar.channels`).
        ``"attention"``: `fit` trains a layer across them. ``"model"``: the model's own channel blocks.
    gap
        Steps between the end of the history and the first forecast (lead time).
    calibrate
        True or ``"cqr"``: `fit` also runs a backtest on the ends of the histories and corrects every quantile by what
        it missed there, step by step (`tsar.conformal`); ``"split"`` takes the spread from the errors of the median.
    constraints
        `tsar.Constraints`, or a mapping of its fields: bounds, whole numbers, closed hours and weekdays. Every quantile
        and sample obeys them.
    mode
        ``"zero_shot"``: `fit` trains nothing. Else it trains a copy of the model on the data, and keeps the copy only
        if it forecasts held-back ends better: ``"head"``, ``"prompt"``, ``"lora"``, ``"probe_then_tune"``, ``"full"``,
        or ``"from_scratch"`` (a small new model). See docs/fine_tuning.md.
    fine_tune
        None, a dict or a `FineTuneConfig`: how to train; the defaults are meant to be left alone.
    random_state
        Seed of `sample` and of all that `fit` learns, None as 0. The forecast itself is deterministic.

    Attributes
    ----------
    panel_ : Panel
        What `fit` remembers: the clean history of every series.
    covariate_effect_ : CovariateEffect
        What `fit` learned of the covariates: gain, importance, which are kept. Only with covariates.
    channel_adapter_ : ChannelAdapter, MixedChannels or None
        The fitted adapter, or for ``"attention"`` gains and which channels follow; None where nothing is learned ahead.
    calibration_ : Calibration
        What `fit` learned about the bands, with `calibrate`.
    bound_columns_ : dict
        Bounds that are columns, their last values (I,).
    model_ : Decoder
        The tuned decoder; not there in mode ``"zero_shot"``. The released one is never changed.
    adapter_ : Adapter or None
        What of it is new; None where the released weights are kept and for ``"from_scratch"``.
    fine_tune_report_ : FineTuneReport
        Steps, scores on the held-back ends, share of the weights trained, whether the released weights are kept.
    n_features_in_ : int
        1, the target.

    Examples
    --------
    >>> from tsar import Forecaster
    >>> forecast = Forecaster(prediction_length=28).fit(df).predict()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | Decoder = "tsar-tiny",
        *,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        context_length: int | Sequence[int] | None = None,
        freq: str | None = None,
        id_column: str | None = "item_id",
        timestamp_column: str = "timestamp",
        target: str | Sequence[str] = "target",
        device: str | torch.device = "auto",
        batch_size: int | str = "auto",
        symmetrize: bool = True,
        downsample: int | str = "auto",
        follow_period: bool = True,
        non_negative: bool | str = "auto",
        ensemble: str | None = None,
        past_covariates: Sequence[str] = (),
        future_covariates: Sequence[str] = (),
        static_covariates: Sequence[str] = (),
        calendar: bool = False,
        holidays: str | None = None,
        covariate_method: str = "auto",
        channel_adapter: Any = None,
        gap: int = 0,
        calibrate: bool | str = False,
        constraints: Any = None,
        mode: str = "zero_shot",
        fine_tune: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.model = model
        self.prediction_length = prediction_length
        self.quantile_levels = quantile_levels
        self.context_length = context_length
        self.freq = freq
        self.id_column = id_column
        self.timestamp_column = timestamp_column
        self.target = target
        self.device = device
        self.batch_size = batch_size
        self.symmetrize = symmetrize
        self.downsample = downsample
        self.follow_period = follow_period
        self.non_negative = non_negative
        self.ensemble = ensemble
        self.past_covariates = past_covariates
        self.future_covariates = future_covariates
        self.static_covariates = static_covariates
        self.calendar = calendar
        self.holidays = holidays
        self.covariate_method = covariate_method
        self.channel_adapter = channel_adapter
        self.gap = gap
        self.calibrate = calibrate
        self.constraints = constraints
        self.mode = mode
        self.fine_tune = fine_tune
        self.random_state = random_state

    def fit(self, df: Any, y: None = None, *, validation: Any = None) -> Forecaster:
        """Validate `df` and remember it as the history to forecast from; learn what the options ask for.

        Zero-shot and without covariates and calibration nothing is learned.

        Parameters
        ----------
        df
            Long frame (pandas, polars or pyarrow): one row per item and stamp. It is not changed.
        y
            Ignored, as in scikit-learn's transformers.
        validation
            Frame of the rows that follow `df`, on its grid, by which fine-tuning ends and the best weights are chosen;
            None: the ends of `df` are held back for it. It is not trained on and not remembered.

        Returns
        -------
        Forecaster
            itself

        Raises
        ------
        FrameError, FrequencyError, CovariateError
            For data that cannot be forecast; the code names the reason, see docs/errors.md.
        TrainingError
            ``training.nan_loss``, if the learning rate is far too high.
        """
        validate_options(self)
        panel = self._panel(df)
        bounds = self._bound_columns(df, self.constraints)
        for learned in _LEARNED:
            self.__dict__.pop(learned, None)
        if self.mode != "zero_shot":
            self._tune(panel, None if validation is None else self._panel(validation, panel.freq or panel.grid.step))
        self.remember(panel, bounds)
        self.channel_adapter_ = fit_channels(
            self._inference, panel, self.gap + self._horizon(panel, None), self._num_targets(), self.channel_adapter,
            seed=self.random_state or 0,
        )  # fmt: skip
        if self.calibrate:
            self.calibration_ = calibrate_forecaster(self, df, "cqr" if self.calibrate is True else str(self.calibrate))
        return self

    def predict(
        self,
        df: Any = None,
        *,
        future_df: Any = None,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] | None = None,
        constraints: Any = None,
        examples: Any = None,
        neighbours: int = 0,
        adapt_steps: int = 0,
    ) -> Any:
        """Forecast what follows the history.

        Parameters
        ----------
        df
            Other series to forecast instead of those given to `fit`; same columns. Nothing is remembered.
        future_df
            The future covariates: a row for every item and timestamp that is forecast (those within `gap` as well).
        prediction_length, quantile_levels, constraints
            Instead of those of the constructor, for this call.
        examples, neighbours
            A long frame of other series, and how many windows to look up in them and in the series' own past: what
            followed the windows most like the end of a series moves its forecast, where that would have helped
            (`tsar.refining.context`). Off by default.
        adapt_steps
            Gradient steps of the norms and biases of a copy of the model, on the history only, before it forecasts
            (`tsar.training.adapt`). The copy is thrown away. See docs/adaptation.md for whether it helps.

        Returns
        -------
        frame of the kind that came in
            One row per item and future stamp, items in the order given: the id and timestamp columns, ``target_name``,
            ``predictions`` (the median), and a column per level, named by the level. Items without any observed value
            within the context get missing predictions, with a warning.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` without `df` before `fit`.
        OptionError
            ``option.prediction_length``, ``option.quantile_level``, ``option.invalid``, ``device.unavailable``.
        CovariateError
            If `future_df` does not fit.
        """
        levels = self._levels(quantile_levels)
        panel, forecast = self._distribution(
            df, prediction_length, future_df, constraints, examples, neighbours, adapt_steps
        )  # fmt: skip
        return make_forecast_frame(  # distribution -> frame
            panel, forecast.at(levels), levels, forecast.median, id_column=self.id_column,
            timestamp_column=self.timestamp_column, target_name=self._target_name(), gap=self.gap,
        )  # fmt: skip

    def predict_quantiles(
        self,
        df: Any = None,
        *,
        future_df: Any = None,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] | None = None,
        constraints: Any = None,
        examples: Any = None,
        neighbours: int = 0,
        adapt_steps: int = 0,
    ) -> Forecast:
        """Forecast as numbers.

        Parameters
        ----------
        df, future_df, prediction_length, quantile_levels, constraints, examples, neighbours, adapt_steps
            As in `predict`.

        Returns
        -------
        Forecast
            Of the ascending levels, (I, F, Q) in data units; items in the order given. Errors are those of `predict`.
        """
        levels = sorted(self._levels(quantile_levels))
        _, forecast = self._distribution(
            df, prediction_length, future_df, constraints, examples, neighbours, adapt_steps
        )  # fmt: skip
        return replace(forecast, quantiles=forecast.at(levels), levels=np.asarray(levels))

    def sample(
        self,
        df: Any = None,
        *,
        num_samples: int = 100,
        future_df: Any = None,
        prediction_length: int | None = None,
        constraints: Any = None,
    ) -> Any:
        """Draw sample paths of what follows the history, whose steps go together as forecast errors do.

        Parameters
        ----------
        df
            As in `predict`.
        num_samples
            S paths per item. At every step they are the quantiles of the forecast at ``(s + 0.5) / S``, so that the
            bands of `predict` are theirs; which values make a path says `tsar.samples`, from the backtest if there was
            a calibration. The paths of an item depend on its id and `random_state`, not on other items.
        future_df, prediction_length, constraints
            As in `predict`.

        Returns
        -------
        frame of the kind that came in
            A row per item, sample and future stamp: id and timestamp, ``target_name``, ``sample``, ``predictions``.
            `tsar.aggregate_samples` sums them over periods.

        Raises
        ------
        OptionError
            ``option.invalid`` if `num_samples` is not a whole number from 1; and the errors of `predict`.
        """
        validate_count("num_samples", num_samples)
        panel, forecast = self._distribution(df, prediction_length, future_df, constraints)
        paths = forecast.sample(num_samples, item_ids=list(panel.item_ids), random_state=self.random_state)
        return make_sample_frame(
            panel, paths, id_column=self.id_column, timestamp_column=self.timestamp_column,
            target_name=self._target_name(), gap=self.gap,
        )  # fmt: skip

    def save(self, folder: str | Path) -> None:
        """Write options, weights, the remembered history and what was learned into `folder`, as one whole step.

        A forecaster that was saved there before is replaced.

        Raises
        ------
        OptionError
            ``option.invalid`` for a folder that holds anything else, and for options that no file can hold (a
            `RandomState`).
        """
        validate_options(self)
        save_forecaster(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Return the forecaster that was saved in `folder`; its numbers are the same, bit for bit on the same machine.

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash`` or ``release.bad_manifest`` for a damaged folder.
        """
        forecaster: Forecaster = load_forecaster(cls, Path(folder))
        return forecaster

    def save_adapter(self, folder: str | Path) -> None:
        """Write what fine-tuning changed into `folder`, without the model: kilobytes for ``"lora"`` and ``"prompt"``.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` if there is nothing to write: not fitted, released weights kept, or
            ``"from_scratch"``, which `save` keeps.
        OptionError
            ``option.invalid`` for a folder that holds anything but an adapter.
        """
        save_adapter(getattr(self, "adapter_", None), self.released_decoder(), folder)

    def load_adapter(self, folder: str | Path) -> Forecaster:
        """Return this forecaster with the adapter in `folder` on its model, the one that the adapter was trained on.

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest``; the last also for another model.
        """
        validate_options(self)
        base = self.released_decoder()
        adapter = load_adapter(base, folder)
        self.__dict__.pop("fine_tune_report_", None)
        self._use(adapter.apply(base), adapter)
        return self

    def released_decoder(self) -> Decoder:
        """Return the model as it was before any fine-tuning.

        Raises
        ------
        ModelError, ReleaseError, OptionError
            As of `tsar.load_model`, and ``device.unavailable``.
        """
        return load_model(self.model, resolve_device(self.device))

    def remember(self, panel: Panel, bounds: dict[str, FloatArray]) -> None:
        """Take `panel` as the history to forecast from, and learn the effect of its covariates (quicker than to keep).

        `bounds` are those of the constraints that are columns, their last values (I,); both as `fit` makes them.
        """
        self.panel_, self.bound_columns_ = panel, bounds
        self.n_features_in_ = 1
        if panel.covariates is not None:
            self.covariate_effect_ = self._learn_covariates(panel, panel.covariates, self._inference().at(panel.freq))

    def _distribution(
        self, df: Any, prediction_length: int | None, future_df: Any, constraints: Any, examples: Any = None,
        neighbours: int = 0, adapt_steps: int = 0,
    ) -> tuple[Panel, Forecast]:  # fmt: skip
        """Frame -> windows -> tokens -> model -> distribution."""
        validate_options(self)
        for name, count in (("neighbours", neighbours), ("adapt_steps", adapt_steps)):
            validate_count(name, count, least=0)
        inference = self._inference()
        panel = self._fitted_panel() if df is None else self._panel(df)  # frame -> series
        horizon = self.gap + self._horizon(panel, prediction_length)
        future = self._future(panel, future_df, horizon)
        shown = None if examples is None else self._panel(examples)
        adapted = adapt_inference(inference.at(panel.freq), panel, horizon, int(adapt_steps), self.random_state)
        quantiles = forecast_channels(  # -> windows -> tokens -> model -> distribution
            adapted, panel, horizon, self._num_targets(), self.channel_adapter, examples=shown, neighbours=neighbours,
            adapter=getattr(self, "channel_adapter_", None), seed=self.random_state or 0,
        )  # fmt: skip
        quantiles = self._follow_covariates(panel, quantiles, future, inference.at(panel.freq))[:, self.gap :]
        warn_of_blind_windows(panel, np.isnan(quantiles[:, 0, 0]))
        forecast = Forecast(
            quantiles, inference.levels, lower_bound(panel.values, panel.offsets, self.non_negative),
            diagnosis=diagnose_panel(panel.values, panel.offsets).with_fallback,
            target_names=target_names(self.target) * (panel.num_items // self._num_targets()),
        )  # fmt: skip
        return panel, self._constrain(self._calibrated(forecast), panel, df, constraints)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.mode != "zero_shot" or bool(self.calibrate)  # else predict(df) needs no fit
        return tags

    def _target_name(self) -> str | tuple[str, ...]:
        return self.target if isinstance(self.target, str) else target_names(self.target)

    def _num_targets(self) -> int:
        return len(target_names(self.target))

    def _inference(self) -> Inference:
        """The tuned decoder, or the released one, with the options; a tuned mode needs `fit`."""
        if self.mode != "zero_shot" and not hasattr(self, "model_"):
            text = f"mode={self.mode!r} forecasts with weights that fit trains."
            raise not_fitted(text, hint="Call fit(df) or load_adapter(folder).")
        model = self.model_ if hasattr(self, "model_") else self.released_decoder()
        return Inference(
            model=model, context_lengths=context_lengths(self.context_length, model), symmetrize=bool(self.symmetrize),
            rows_per_batch=None if self.batch_size == "auto" else int(self.batch_size),
            downsample=self.downsample if isinstance(self.downsample, str) else min(int(self.downsample), LONGEST),
            follow_period=bool(self.follow_period), ensemble=self.ensemble,
        )  # fmt: skip

    def _tune(self, panel: Panel, validation: Panel | None) -> None:
        base = self.released_decoder().at_frequency(panel.freq)
        tuned = tune(
            base, panel, validation, mode=self.mode, config=self.fine_tune,
            prediction_length=self._horizon(panel, None), context_lengths=context_lengths(self.context_length, base),
            symmetrize=self.symmetrize, non_negative=self.non_negative, random_state=self.random_state,
        )  # fmt: skip
        self._use(tuned.decoder, tuned.adapter)
        self.fine_tune_report_ = tuned.report

    def _use(self, decoder: Decoder, adapter: Adapter | None) -> None:
        self.model_, self.adapter_ = decoder, adapter

    def _learn_covariates(self, panel: Panel, covariates: Covariates, inference: Inference) -> CovariateEffect:
        effect = learn_effect(
            inference.recalled(), panel.values, panel.offsets, covariates, self.gap + self._horizon(panel, None),
            levels=inference.levels, context_length=max(inference.context_lengths),
            season_length=season_length(panel.freq), method=self.covariate_method, seed=self.random_state or 0,
            forecast=inference.recalled(followed=True),
        )  # fmt: skip
        if effect.dropped:
            named = ", ".join(map(repr, effect.dropped))
            warn(f"covariates that did not lower the error on backtests of the history and are not used: {named}")
        return effect

    def _follow_covariates(
        self, panel: Panel, quantiles: FloatArray, future: FloatArray, inference: Inference
    ) -> FloatArray:
        if panel.covariates is None:
            return quantiles
        effect = self._effect_of(panel, panel.covariates, inference)
        return apply_effect(effect, quantiles, inference.decode, panel.values, panel.offsets, panel.covariates, future)

    def _effect_of(self, panel: Panel, covariates: Covariates, inference: Inference) -> CovariateEffect:
        is_fitted = panel is getattr(self, "panel_", None)
        return self.covariate_effect_ if is_fitted else self._learn_covariates(panel, covariates, inference)

    def _calibrated(self, forecast: Forecast) -> Forecast:
        if not self.calibrate:
            return forecast
        if not hasattr(self, "calibration_"):
            raise not_fitted("This forecaster is not calibrated yet.", hint="Call fit(df) first.")
        return self.calibration_.apply(forecast)

    def _constrain(self, forecast: Forecast, panel: Panel, df: Any, constraints: Any) -> Forecast:
        wanted = normalize_constraints(self.constraints if constraints is None else constraints)
        if wanted is None:
            return forecast
        columns = self.bound_columns_ if df is None else self._bound_columns(df, wanted)
        unread = [name for name in wanted.columns if name not in columns]
        if unread:
            text = f"The column {unread[0]!r}, a bound, was not in the constraints when this forecaster was fitted."
            raise not_fitted(text, hint="Call fit(df) again, or predict(df).")
        bounds = resolve_bounds(wanted, panel, forecast.quantiles.shape[1], columns, gap=self.gap)
        return replace(forecast, bounds=bounds)

    def _bound_columns(self, df: Any, constraints: Any) -> dict[str, FloatArray]:
        columns = read_bound_columns(
            normalize_constraints(constraints), df, id_column=self.id_column, timestamp_column=self.timestamp_column
        )
        return {name: values.repeat(self._num_targets()) for name, values in columns.items()}

    def _panel(self, df: Any, freq: str | int | None = None) -> Panel:
        panel = normalize_targets(
            df, id_column=self.id_column, timestamp_column=self.timestamp_column, target=self.target,
            freq=self.freq if freq is None else freq, covariates=covariate_columns(self),
        )  # fmt: skip
        if not self.calendar and self.holidays is None:
            return panel
        return add_calendar(panel, calendar=self.calendar, holidays=self.holidays)

    def _future(self, panel: Panel, future_df: Any, horizon: int) -> FloatArray:
        wanted = covariate_columns(self)
        future = read_ahead(
            panel, future_df, wanted, horizon, calendar=self.calendar, holidays=self.holidays,
            id_column=self.id_column, timestamp_column=self.timestamp_column,
            known_columns=[*target_names(self.target), *wanted.past, *wanted.static],
        )  # fmt: skip
        if len(future) != (0 if panel.covariates is None else panel.covariates.num_ahead):
            text = "Other covariates are named than when this forecaster was fitted."
            raise not_fitted(text, hint="Call fit(df) again, or predict(df).")
        return future

    def _fitted_panel(self) -> Panel:
        if not hasattr(self, "panel_"):
            raise not_fitted("This forecaster has no history yet.", hint="Call fit(df), or predict(df).")
        return self.panel_

    def _levels(self, levels: Sequence[float] | None) -> list[float]:
        wanted = validate_levels(self.quantile_levels if levels is None else levels)
        return [float(level) for level in wanted]

    def _horizon(self, panel: Panel, prediction_length: int | None) -> int:
        wanted = self.prediction_length if prediction_length is None else prediction_length
        if wanted is None:
            return max(season_length(panel.freq), 1) if panel.freq is not None else 1
        return validate_horizon(wanted)
