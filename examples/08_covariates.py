"""Sales of two shops that follow promotions and the weather: forecast with and without these covariates.

The promotions are planned, so their future is known; of the weather the forecast of another service would be used. The
series are simulated, so that what there is to find is known: a promotion brings 40 %, ten degrees more 15 %.
"""

import numpy as np
import pandas as pd

from tsar import Forecaster

HORIZON, DAYS = 28, 900


def make_sales() -> pd.DataFrame:
    """Return daily sales of two shops with temperature, promotions and the shop's region."""
    rng = np.random.default_rng(7)
    day = np.arange(DAYS)
    shops = []
    for shop, region in (("Lyon", "south"), ("Lille", "north")):
        weather = np.convolve(rng.normal(size=DAYS + 4), np.ones(5) / 2.2, "valid")
        temperature = 12 - 9 * np.cos(2 * np.pi * day / 365) + 4 * weather
        promotion = np.where(rng.random(DAYS) < 0.12, rng.choice(["flyer", "discount"], DAYS), "none")
        week = 1 + 0.25 * np.sin(2 * np.pi * day / 7)
        uplift = 1 + 0.4 * (promotion != "none") + 0.015 * (temperature - 12)
        sales = 300 * week * uplift * rng.lognormal(sigma=0.05, size=DAYS)
        columns = {"sales": sales.round(), "temperature": temperature, "promotion": promotion, "region": region}
        stamps = pd.date_range("2022-01-01", periods=DAYS)
        shops.append(pd.DataFrame({"shop": shop, "day": stamps} | columns))
    return pd.concat(shops, ignore_index=True)


def main() -> None:
    """Print the error without and with covariates, and what each contributed."""
    sales = make_sales()
    is_future = sales.groupby("shop").cumcount(ascending=False) < HORIZON
    past, future = sales[~is_future], sales[is_future]
    names = {"id_column": "shop", "timestamp_column": "day", "target": "sales", "prediction_length": HORIZON}

    plain = Forecaster(**names).fit(past)
    driven = Forecaster(**names, future_covariates=["temperature", "promotion"], static_covariates=["region"]).fit(past)
    planned = future[["shop", "day", "temperature", "promotion"]]
    for title, forecast in (("without", plain.predict()), ("with", driven.predict(future_df=planned))):
        error = np.abs(forecast["predictions"].to_numpy() - future["sales"].to_numpy()).mean()
        print(f"mean absolute error {title} covariates: {error:.1f}")

    effect = driven.covariate_effect_
    print(f"\n{effect.method}: {effect.gain:.0%} of the error went on backtests; what was lost without each covariate:")
    for name, kept, importance in zip(effect.names, effect.kept, effect.importance, strict=True):
        print(f"  {name:20} {'kept' if kept else 'dropped':8} {importance:.1%}")


if __name__ == "__main__":
    main()
