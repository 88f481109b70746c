"""The sklearn-style face: frame -> windows -> tokens -> model -> distribution -> frame, by name, in `predict`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from tsar.decode import decode_panel
from tsar.ensemble import join_classical
from tsar.errors import NotFittedError, OptionError, ReleaseError, TsarWarning
from tsar.forecast import Forecast, validate_levels
from tsar.frame import Panel, make_forecast_frame, normalize_frame, panel_from_bytes, panel_to_bytes
from tsar.freq import season_length
from tsar.hub import load_model, release_files, resolve_device
from tsar.logging import progress_bar
from tsar.model.decoder import Decoder
from tsar.refine import coarse_rate, downsample, follow_coarse, zero_bound
from tsar.storage import read_folder, write_folder
from tsar.tuning import load_adapter, save_adapter, tune, validate_mode

MODEL_FOLDER = "model"
DEFAULT_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_CALLER_OF_PREDICT = 4  # warnings point there: a function here, Forecaster._forecast, predict, caller


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
        Names of the columns. ``id_column=None``: the frame is one series.
    device
        ``"auto"`` (GPU if there is one), ``"cpu"``, ``"cuda"``, …
    batch_size
        Series that go through the model together; ``"auto"`` fills a fixed amount of memory. The forecast of a series
        does not depend on it beyond rounding.
    symmetrize
        Average the forecast of the series with that of its mirror image: twice the work, about one percent less error.
    downsample
        Steps averaged into one for a second, coarse forecast that the level follows half-way, so that long seasons fit
        into the context: ``"auto"`` does so for series longer than the context when it holds fewer than eight seasons
        (data of a few minutes' step), 1 never.
    non_negative
        Clip the forecast at zero: ``"auto"`` for the series that were never negative, True for all, False for none.
    ensemble
        ``"classical"``: the median from the model, Theta and ETS together, weighted series by series by rolling
        backtests; the spread stays the model's. Some thousand times slower (faster with the extra ``classical``). None:
        the model alone.
    mode
        ``"zero_shot"``: `fit` trains nothing. Else it trains a copy of the model on the data, and keeps the copy only
        if it forecasts held-back ends better: ``"head"``, ``"prompt"``, ``"lora"``, ``"probe_then_tune"``, ``"full"``,
        or ``"from_scratch"`` (a small new model). See docs/fine_tuning.md.
    fine_tune
        None, a dict or a `FineTuneConfig`: how to train; the defaults are meant to be left alone.
    random_state
        Seed of fine-tuning, None: 0. The forecast itself is deterministic.

    Attributes
    ----------
    panel_ : Panel
        What `fit` remembers: the clean history of every series.
    n_features_in_ : int
        1, the target.
    model_ : Decoder
        The tuned decoder; not there in mode ``"zero_shot"``. The released one is never changed.
    adapter_ : Adapter or None
        What of it is new; None where the released weights are kept and for ``"from_scratch"``.
    fine_tune_report_ : FineTuneReport
        Steps, scores on the held-back ends, share of the weights trained, whether the released weights are kept.

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
        target: str = "target",
        device: str = "auto",
        batch_size: int | str = "auto",
        symmetrize: bool = True,
        downsample: int | str = "auto",
        non_negative: bool | str = "auto",
        ensemble: str | None = None,
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
        self.non_negative = non_negative
        self.ensemble = ensemble
        self.mode = mode
        self.fine_tune = fine_tune
        self.random_state = random_state

    def fit(self, df: Any, y: None = None, *, validation: Any = None) -> Forecaster:
        """Validate `df` and remember it as the history to forecast from; train, unless `mode` is ``"zero_shot"``.

        Parameters
        ----------
        df
            Long frame (pandas, polars or pyarrow): one row per item and stamp. It is not changed.
        y
            Ignored, as in scikit-learn's transformers.
        validation
            Frame of the rows that follow `df`, by which training ends and the best weights are chosen; None: the ends
            of `df` are held back for it. It is not trained on and not remembered.

        Returns
        -------
        Forecaster
            itself

        Raises
        ------
        FrameError, FrequencyError
            For data that cannot be forecast; the code names the reason, see docs/errors.md.
        TrainingError
            ``training.nan_loss``, if the learning rate is far too high.
        """
        self._validate_options()
        panel = self._panel(df)
        self._forget_tuning()
        if self.mode != "zero_shot":
            self._tune(panel, None if validation is None else self._panel(validation))
        self.panel_ = panel
        self.n_features_in_ = 1
        return self

    def _tune(self, panel: Panel, validation: Panel | None) -> None:
        from tsar.training.tune_config import FineTuneConfig

        base = load_model(self.model, resolve_device(self.device))
        tuned = tune(
            base, panel, validation, mode=self.mode, config=FineTuneConfig.of(self.fine_tune),
            prediction_length=self._horizon(panel, None), season_length=season_length(panel.freq),
            context_lengths=self._contexts(base), symmetrize=self.symmetrize, non_negative=self.non_negative,
            random_state=self.random_state,
        )  # fmt: skip
        self.model_, self.adapter_, self.fine_tune_report_ = tuned.decoder, tuned.adapter, tuned.report

    def _forget_tuning(self) -> None:
        for name in ("model_", "adapter_", "fine_tune_report_"):
            self.__dict__.pop(name, None)

    def _decoder(self) -> Decoder:
        """The tuned decoder, or the released one; a tuned mode needs `fit`."""
        if hasattr(self, "model_"):
            return self.model_
        if self.mode != "zero_shot":
            raise NotFittedError(
                f"mode={self.mode!r} forecasts with weights that fit trains.",
                code="forecaster.not_fitted",
                hint="Call fit(df) or load_adapter(folder).",
            )
        return load_model(self.model, resolve_device(self.device))

    def save_adapter(self, folder: str | Path) -> None:
        """Write what fine-tuning changed, without the model: kilobytes for ``"lora"`` and ``"prompt"``.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` if there is nothing to write: not fitted, released weights kept, or
            ``"from_scratch"``, which `save` keeps.
        """
        save_adapter(getattr(self, "adapter_", None), load_model(self.model, resolve_device(self.device)), folder)

    def load_adapter(self, folder: str | Path) -> Forecaster:
        """Put an adapter that `save_adapter` wrote on the model, which must be the one that it was trained on.

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest``; the last also for another model.
        """
        self._validate_options()
        base = load_model(self.model, resolve_device(self.device))
        adapter = load_adapter(base, folder)
        self._forget_tuning()
        self.model_, self.adapter_ = adapter.apply(base), adapter
        return self

    def predict(
        self, df: Any = None, *, prediction_length: int | None = None, quantile_levels: Sequence[float] | None = None
    ) -> Any:
        """Forecast what follows the history.

        Parameters
        ----------
        df
            Other series to forecast instead of those given to `fit`; same columns. Nothing is remembered.
        prediction_length, quantile_levels
            Instead of those of the constructor, for this call.

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
        """
        self._validate_options()
        levels = self._levels(quantile_levels)
        model = self._decoder()
        panel = self._fitted_panel() if df is None else self._panel(df)  # frame -> series
        forecast = self._forecast(model, panel, prediction_length)  # -> windows -> tokens -> model -> distribution
        return make_forecast_frame(  # distribution -> frame
            panel, forecast.at(levels), levels, forecast.median, id_column=self.id_column,
            timestamp_column=self.timestamp_column, target_name=self.target,
        )  # fmt: skip

    def predict_quantiles(
        self, df: Any = None, *, prediction_length: int | None = None, quantile_levels: Sequence[float] | None = None
    ) -> Forecast:
        """Forecast as numbers: a `Forecast` of the ascending levels; parameters and errors as in `predict`."""
        self._validate_options()
        levels = sorted(self._levels(quantile_levels))
        model = self._decoder()
        panel = self._fitted_panel() if df is None else self._panel(df)
        forecast = self._forecast(model, panel, prediction_length)
        return Forecast(forecast.at(levels), np.asarray(levels), forecast.lower)

    def save(self, folder: str | Path) -> None:
        """Write options, weights and the remembered history into `folder`, as one whole step."""
        options = self.get_params(deep=False)
        options["quantile_levels"] = self._levels(None)
        options["model"] = MODEL_FOLDER
        options["fine_tune"] = asdict(self.fine_tune) if hasattr(self.fine_tune, "max_steps") else self.fine_tune
        files = {"options.json": json.dumps(options, indent=1, default=_plain).encode()}
        files |= {f"{MODEL_FOLDER}/{name}": content for name, content in release_files(self._released()).items()}
        if hasattr(self, "fine_tune_report_"):
            files["fine_tune.json"] = json.dumps(asdict(self.fine_tune_report_), indent=1, default=_plain).encode()
        if hasattr(self, "panel_"):
            files["history.bin"] = panel_to_bytes(self.panel_)
        write_folder(Path(folder), files, kind="forecaster")

    def _released(self) -> str | Path | Decoder:
        """What `save` writes as the model: the tuned decoder if there is one."""
        return self.model_ if hasattr(self, "model_") else self.model

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Read a forecaster that `save` wrote; it forecasts the same numbers, bit for bit on the same machine.

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash`` or ``release.bad_manifest`` for a damaged folder.
        """
        files = read_folder(Path(folder))
        try:
            options = json.loads(files["options.json"])
            options["model"] = str(Path(folder) / options["model"])
            forecaster = cls(**options)
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseError(f"{folder} is no forecaster: {error}.", code="release.bad_manifest") from error
        if forecaster.mode != "zero_shot" and "fine_tune.json" in files:
            from tsar.training.tune_config import FineTuneReport

            forecaster.model_ = load_model(forecaster.model, resolve_device(forecaster.device))
            forecaster.adapter_ = None
            forecaster.fine_tune_report_ = FineTuneReport(**json.loads(files["fine_tune.json"]))
        if "history.bin" in files:
            forecaster.panel_ = panel_from_bytes(files["history.bin"])
            forecaster.n_features_in_ = 1
        return forecaster

    def _forecast(self, model: Decoder, panel: Panel, prediction_length: int | None) -> Forecast:
        """Windows -> tokens -> model -> distribution; then what the whole history adds."""
        horizon, values, offsets = self._horizon(panel, prediction_length), panel.values, panel.offsets
        season = season_length(panel.freq)
        contexts = self._contexts(model)
        with progress_bar(total=panel.num_items, desc="forecast", unit="series", delay=2.0) as bar:
            decode = partial(
                decode_panel, model, context_lengths=contexts, symmetrize=self.symmetrize,
                rows_per_batch=None if self.batch_size == "auto" else int(self.batch_size),
            )  # fmt: skip
            quantiles = decode(values, offsets, horizon, advance=bar.update)
        rate = coarse_rate(season, max(contexts)) if self.downsample == "auto" else int(self.downsample)
        if rate > 1:
            coarse = downsample(values, offsets, rate, longer_than=max(contexts))
            quantiles = follow_coarse(quantiles, decode(*coarse, -(-horizon // rate)), rate)
        if self.ensemble == "classical":
            quantiles = join_classical(quantiles, values, offsets, season, partial(decode, prediction_length=horizon))
        _warn_of_blind_windows(panel, np.isnan(quantiles[:, 0, 0]))
        return Forecast(quantiles, np.asarray(model.config.quantile_levels), self._lower_bound(panel))

    def _lower_bound(self, panel: Panel) -> npt.NDArray[np.float64] | None:
        if self.non_negative == "auto":
            return zero_bound(panel.values, panel.offsets)
        return np.zeros(panel.num_items) if self.non_negative else None

    def _contexts(self, model: Decoder) -> list[int]:
        wanted = model.config.context_length if self.context_length is None else self.context_length
        return [int(length) for length in np.atleast_1d(np.asarray(wanted))]

    def _panel(self, df: Any) -> Panel:
        return normalize_frame(
            df, id_column=self.id_column, timestamp_column=self.timestamp_column, target=self.target, freq=self.freq
        )

    def _fitted_panel(self) -> Panel:
        if not hasattr(self, "panel_"):
            raise NotFittedError(
                "This forecaster has no history yet.",
                code="forecaster.not_fitted",
                hint="Call fit(df), or predict(df).",
            )
        return self.panel_

    def _levels(self, levels: Sequence[float] | None) -> list[float]:
        wanted = validate_levels(self.quantile_levels if levels is None else levels)
        return [float(level) for level in wanted]

    def _horizon(self, panel: Panel, prediction_length: int | None) -> int:
        wanted = self.prediction_length if prediction_length is None else prediction_length
        if wanted is None:
            return max(season_length(panel.freq), 1) if panel.freq is not None else 1
        if not isinstance(wanted, (int, np.integer)) or isinstance(wanted, bool) or wanted < 1:
            raise OptionError(
                f"prediction_length must be a whole number from 1, got {wanted!r}.", code="option.prediction_length"
            )
        return int(wanted)

    def _validate_options(self) -> None:
        validate_mode(self.mode, self.fine_tune, self.random_state)
        given = self.context_length
        contexts = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
        if not contexts:
            raise OptionError("context_length is empty.", code="option.invalid")
        for name, value, default in (
            *(("context_length", length, None) for length in contexts),
            ("batch_size", self.batch_size, "auto"),
            ("downsample", self.downsample, "auto"),
        ):
            if value is default or (isinstance(value, str) and value == default):
                continue
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                text = f"{name} must be a whole number from 1, or {default!r}, got {value!r}."
                raise OptionError(text, code="option.invalid")
        choices = {
            "symmetrize": (True, False),
            "non_negative": (True, False, "auto"),
            "ensemble": (None, "classical"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in allowed):
                text = f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}."
                raise OptionError(text, code="option.invalid")


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as JSON knows them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be saved")


def _warn_of_blind_windows(panel: Panel, is_missing: npt.NDArray[np.bool_]) -> None:
    """Warn of items (I,) that have values, but none as late as the model reads; those without any are known by now."""
    blind = panel.item_ids[is_missing & np.logical_or.reduceat(~np.isnan(panel.values), panel.offsets[:-1])]
    if len(blind):
        text = f"no observed value within the context in {len(blind)} of {panel.num_items} items, first {blind[0]!r}"
        warnings.warn(f"{text}: their predictions are missing", TsarWarning, stacklevel=_CALLER_OF_PREDICT)
