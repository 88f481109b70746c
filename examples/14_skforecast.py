"""skforecast: the model as the regressor of its recursive forecaster, and judged by its backtest.

    pip install skforecast
    python examples/14_skforecast.py

Monthly sea temperatures. `WindowRegressor` gets skforecast's lags as windows; skforecast does the rest: recursion,
prediction intervals from the residuals, backtesting with its own metrics, here beside plain ridge regression.
"""

import pandas as pd
from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster
from skforecast.recursive import ForecasterRecursive
from sklearn.linear_model import Ridge
from statsmodels.datasets import elnino

from tsar.interop.windows import WindowRegressor

LAGS, MONTHS_AHEAD, MONTHS_HELD_BACK = 48, 12, 60

wide = elnino.load_pandas().data.set_index("YEAR")
stamps = pd.date_range("1950-01-01", periods=wide.size, freq="MS")
temperature = pd.Series(wide.to_numpy().ravel(), index=stamps, name="temperature").tail(360)

folds = TimeSeriesFold(steps=MONTHS_AHEAD, initial_train_size=len(temperature) - MONTHS_HELD_BACK, refit=False)
for name, estimator in [("ridge", Ridge()), ("tsar", WindowRegressor(newest_first=True))]:
    forecaster = ForecasterRecursive(estimator=estimator, lags=LAGS)
    scores, _ = backtesting_forecaster(
        forecaster, temperature, cv=folds, metric="mean_absolute_error", show_progress=False
    )
    print(f"{name}: mean absolute error {scores['mean_absolute_error'].iloc[0]:.3f}")

forecaster = ForecasterRecursive(estimator=WindowRegressor(newest_first=True), lags=LAGS)
forecaster.fit(temperature, store_in_sample_residuals=True)
bands = forecaster.predict_interval(MONTHS_AHEAD, interval=[0.1, 0.9], method="conformal")
bands.to_csv("forecast.csv")
print(bands.round(1).head(3))
