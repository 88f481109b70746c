"""darts: tsar as a model of darts, with its backtest, its quantile forecasts and its metrics.

    pip install darts
    python examples/15_darts.py

Monthly sea temperatures, beside darts' seasonal naive. A forecast is a `TimeSeries` with a component for each level.
"""

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.metrics import mase, mic, mql
from darts.models import NaiveSeasonal
from darts.models.forecasting.forecasting_model import LocalForecastingModel
from statsmodels.datasets import elnino

from tsar import Forecaster

LEVELS = [0.1, 0.5, 0.9]
MONTHS_AHEAD = 12


class TsarModel(LocalForecastingModel):
    """A local model of darts: one component in, the median out, or with `quantile_levels` a component for each."""

    def __init__(self, model="tsar-tiny", quantile_levels=(0.5,)):
        super().__init__()
        self.model = model
        self.quantile_levels = list(quantile_levels)

    def fit(self, series, verbose=None):
        """Remember the series."""
        super().fit(series, verbose=verbose)
        self._assert_univariate(series)
        frame = pd.DataFrame({"timestamp": series.time_index, "target": series.univariate_values()})
        self.forecaster = Forecaster(self.model, id_column=None, freq=series.freq).fit(frame)
        return self

    def predict(self, n, num_samples=1, verbose=None, show_warnings=True, random_state=None, **options):
        """Forecast `n` steps."""
        super().predict(n, num_samples, verbose=verbose)
        levels = self.quantile_levels
        forecast = self.forecaster.predict_quantiles(prediction_length=n, quantile_levels=levels)
        values = forecast.at(levels)[0]
        if levels == [0.5]:
            return self._build_forecast_series(values[:, 0])
        name = self.training_series.components[0]
        return self._build_forecast_series(values, custom_components=[f"{name}_q{level:.3f}" for level in levels])

    @property
    def supports_multivariate(self):
        """Whether several components are forecast together."""
        return False

    @property
    def _target_window_lengths(self):
        return 3, 0


wide = elnino.load_pandas().data.set_index("YEAR")
stamps = pd.date_range("1950-01-01", periods=wide.size, freq="MS")
temperature = TimeSeries.from_times_and_values(stamps, wide.to_numpy().ravel(), columns=["temperature"])

cutoffs = {"start": len(temperature) - 60, "start_format": "position", "forecast_horizon": MONTHS_AHEAD}
every_year = {**cutoffs, "stride": MONTHS_AHEAD, "last_points_only": False}
for model in (NaiveSeasonal(12), TsarModel()):
    errors = model.backtest(temperature, **every_year, metric=mase, metric_kwargs={"m": 12})
    print(f"{type(model).__name__}: MASE {np.mean(errors):.3f}")

past, future = temperature[:-MONTHS_AHEAD], temperature[-MONTHS_AHEAD:]
forecast = TsarModel(quantile_levels=LEVELS).fit(past).predict(MONTHS_AHEAD)
forecast.to_dataframe().to_csv("forecast.csv")
print("mean quantile loss", np.mean(mql(future, forecast, q=LEVELS)).round(3))
print("coverage of the 80 % band", np.mean(mic(future, forecast, q_interval=(0.1, 0.9))).round(3))
