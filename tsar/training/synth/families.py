"""Families of synthetic series, each a function (rows, length, generator) -> (rows, length).

Every row draws its own parameters. Linear recursions (ETS, ARIMA) are convolutions with their impulse response, so
that nothing loops over time or rows: the same code fills a batch on a CPU or a GPU.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.draws import chance, log_uniform, normal, one_of, standardize, switch, uniform
from tsar.training.synth.parts import convolve, noise, period, season, seasons, slow, some, steps, trend


def trend_season_noise(rows: int, length: int, generator: Generator) -> Tensor:
    """Trend, seasons and noise, added or multiplied (as ForecastPFN, Dooley et al., 2023, with more of each part)."""
    wave = seasons(generator, rows, length) * chance(generator, 0.85, rows, 1)
    level = trend(generator, rows, length) * some(generator, rows, 0.75, 0.1, 10.0)
    error = noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.01, high=2.0)
    growth = torch.exp(2 * torch.tanh(level / 4) * uniform(generator, rows, 1, low=0.1))
    swing = 1 + 0.5 * torch.tanh(wave) * uniform(generator, rows, 1)
    product = growth * swing * (1 + 0.2 * torch.tanh(error))
    return switch(generator, (standardize(product), standardize(level + wave + error)), (4, 6))


def exponential_smoothing(rows: int, length: int, generator: Generator) -> Tensor:
    """State-space ETS: random smoothing weights, damped or straight trend, additive or multiplicative season.

    Hyndman et al. (2008): level_t = sum of alpha e, slope_t = sum of beta e, damped by phi, in innovations form.
    """
    quick = uniform(generator, rows, 1, low=0.7, high=1.0)
    alpha = switch(generator, (quick, log_uniform(generator, rows, 1, low=0.005, high=0.7)), (3, 7))
    beta = alpha * some(generator, rows, 0.6, 0.001, 0.5)
    phi = torch.where(chance(generator, 0.5, rows, 1), uniform(generator, rows, 1, low=0.8, high=0.98), 1.0)
    damped = (phi ** steps(generator, length)).cumsum(-1)
    response = torch.cat([torch.ones_like(alpha), (alpha + beta * damped)[:, :-1]], 1)
    start = normal(generator, rows, 1) * some(generator, rows, 0.7, 0.01, 2.0)
    level = convolve(noise(generator, rows, length), response) + start * damped
    calendar = one_of(generator, rows, (4.0, 4.0, 12.0, 12.0, 12.0, 7.0, 24.0, 52.0))
    periods = torch.where(chance(generator, 0.6, rows, 1), calendar, period(generator, rows))
    wave = season(generator, rows, length, periods) * some(generator, rows, 0.65, 0.3, 12.0)
    rate = log_uniform(generator, rows, 1, low=0.005, high=0.15)
    product = torch.exp((level * rate).clamp(-6, 6)) * (1 + 0.6 * torch.tanh(wave * rate * 4))
    return switch(generator, (standardize(product), standardize(level + wave)), (45, 55))


def arima(rows: int, length: int, generator: Generator) -> Tensor:
    """ARIMA with up to two real roots and a pair of complex ones, integrated 0 to 2 times, sometimes with a season."""
    time = steps(generator, length)
    series = noise(generator, rows, length)
    for _ in range(2):
        root = uniform(generator, rows, 1, low=-0.7, high=0.999) * chance(generator, 0.7, rows, 1)
        series = convolve(series, root**time)
    radius = uniform(generator, rows, 1, low=0.7, high=0.995)
    turn = 2 * math.pi / log_uniform(generator, rows, 1, low=2.5, high=100.0)
    cycle = convolve(series, radius**time * torch.cos(turn * time))
    stationary = standardize(switch(generator, (series, cycle), (7, 3)))
    drift = normal(generator, rows, 1) * some(generator, rows, 0.5, 0.01, 0.3)
    once = standardize((stationary + drift).cumsum(-1))
    twice = standardize(stationary.cumsum(-1).cumsum(-1))
    level = switch(generator, (stationary, once, twice), (35, 55, 10))
    return level + season(generator, rows, length) * some(generator, rows, 0.4, 0.05, 1.0)


def random_walk(rows: int, length: int, generator: Generator) -> Tensor:
    """Walks with changing drift, plain or geometric (prices)."""
    drift = normal(generator, rows, 1) * log_uniform(generator, rows, 1, low=0.005, high=0.3)
    path = (noise(generator, rows, length) + drift * (1 + trend(generator, rows, length))).cumsum(-1)
    price = torch.exp((path * log_uniform(generator, rows, 1, low=0.002, high=0.05)).clamp(-8, 8))
    return switch(generator, (path, standardize(price)))


def kernel_mixture(rows: int, length: int, generator: Generator) -> Tensor:
    """Sums and products of smooth Gaussian processes and periodic functions (KernelSynth, Ansari et al., 2024).

    Smooth parts are random Fourier sums: a normal spectrum gives the squared exponential kernel, a mixed one the
    rational quadratic.
    """
    time = torch.linspace(0, 1, length, device=generator.device)
    total = torch.zeros(rows, length, device=generator.device)
    for place in range(3):
        scale = log_uniform(generator, rows, 1, 1, low=0.004, high=0.5)
        mixed = torch.where(
            chance(generator, 0.5, rows, 1, 1), log_uniform(generator, rows, 20, 1, low=0.2, high=5.0), 1.0
        )
        angle = normal(generator, rows, 20, 1) / scale * mixed * time + 2 * math.pi * uniform(generator, rows, 20, 1)
        smooth = torch.cos(angle).mean(1) * math.sqrt(40.0)
        line = (time * 2 - 1).expand(rows, -1) * normal(generator, rows, 1) * 2
        part = switch(generator, (smooth, season(generator, rows, length), line), (5, 4, 1))
        use = chance(generator, 0.6 if place else 1.0, rows, 1)
        multiply = chance(generator, 0.3 if place else 0.0, rows, 1)
        total = torch.where(use, torch.where(multiply, total * part, total + part), total)
    return standardize(total) + noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.003, high=0.6)


def daily_weekly(rows: int, length: int, generator: Generator) -> Tensor:
    """Sharp daily profiles with peaks, other weekends, single days off and closed hours: load, traffic, shops."""
    per_day = one_of(generator, rows, (24.0, 24.0, 24.0, 48.0, 96.0, 288.0))
    time = steps(generator, length) + (uniform(generator, rows, 1) * per_day * 7).floor()
    hour, day = time / per_day % 1, (time / per_day).floor()
    profile = torch.zeros(rows, length, device=generator.device)
    for _ in range(2):
        centre, width = (
            uniform(generator, rows, 1, low=0.25, high=0.9),
            log_uniform(generator, rows, 1, low=0.02, high=0.2),
        )
        profile = profile + uniform(generator, rows, 1) * torch.exp(-0.5 * ((hour - centre) / width) ** 2)
    weekday = 1 + 0.15 * normal(generator, rows, 7) * chance(generator, 0.7, rows, 1)
    weekend = 1 - uniform(generator, rows, 1, low=-0.3, high=0.9) * (day % 7 >= 5)
    off = 1 - 0.6 * (uniform(generator, rows, 512) < 0.03).float().gather(1, (day % 512).long())
    level = torch.exp(0.25 * slow(generator, rows, length, 0.99, 0.9995))
    error = 1 + log_uniform(generator, rows, 1, low=0.005, high=0.4) * noise(generator, rows, length)
    load = (uniform(generator, rows, 1, high=0.6) + profile * weekend * off) * weekday.gather(1, (day % 7).long())
    load = load * level * error
    is_open = (hour > uniform(generator, rows, 1, low=0.2, high=0.4)) & (
        hour < uniform(generator, rows, 1, low=0.7, high=0.95)
    )
    return switch(generator, (load, load * is_open), (85, 15))


def sun_and_wind(rows: int, length: int, generator: Generator) -> Tensor:
    """Solar power, clipped at zero, with clouds and the length of days; wind power, clipped at both ends."""
    per_day = one_of(generator, rows, (24.0, 24.0, 48.0, 96.0))
    time = steps(generator, length) + uniform(generator, rows, 1) * 8766
    year = torch.sin(2 * math.pi * time / per_day / 365.25)
    height = torch.cos(2 * math.pi * (time / per_day % 1 - 0.5)) - uniform(generator, rows, 1, low=-0.2, high=0.5)
    height = torch.relu(height - 0.4 * year * uniform(generator, rows, 1))
    cloud = torch.sigmoid(2 * slow(generator, rows, length, 0.8, 0.99) + uniform(generator, rows, 1, low=-1, high=4))
    wind = torch.sigmoid(2 * slow(generator, rows, length, 0.9, 0.995) - 0.5) * 1.4 - 0.2
    return switch(generator, (height * cloud, wind.clamp(0, 1)), (7, 3))


def weather(rows: int, length: int, generator: Generator) -> Tensor:
    """Temperature by the day or hour, and rain."""
    hourly = chance(generator, 0.5, rows, 1)
    per_year = torch.where(hourly, 8766.0, 365.25)
    time = steps(generator, length) + uniform(generator, rows, 1) * 8766
    year = torch.cos(2 * math.pi * time / per_year) * log_uniform(generator, rows, 1, low=0.5, high=5.0)
    daily = torch.where(hourly, torch.cos(2 * math.pi * time / 24 + 0.3 * torch.cos(2 * math.pi * time / 24)), 0.0)
    warm = year + daily * uniform(generator, rows, 1, high=2.0) * (1 + 0.3 * slow(generator, rows, length, 0.9, 0.99))
    warm = warm + slow(generator, rows, length, 0.6, 0.99) + 0.2 * noise(generator, rows, length)
    wet = slow(generator, rows, length, 0.3, 0.97) + 0.3 * year / year.abs().amax(1, keepdim=True).clamp_min(1e-6)
    rain = torch.relu(wet - uniform(generator, rows, 1, low=-0.3, high=1.5)) ** uniform(
        generator, rows, 1, low=1, high=2.5
    )
    return switch(generator, (standardize(warm), rain), (7, 3))


def counts(rows: int, length: int, generator: Generator) -> Tensor:
    """Counts whose rate has trend and seasons: overdispersed, intermittent, with promotions; whole numbers from 0."""
    shape = 0.5 * seasons(generator, rows, length) * uniform(generator, rows, 1, high=1.5)
    shape = (
        shape
        + 0.5 * trend(generator, rows, length) * uniform(generator, rows, 1)
        + 0.3 * slow(generator, rows, length, 0.9, 0.999)
    )
    rate = torch.exp(shape.clamp(-6, 4)) * log_uniform(generator, rows, 1, low=0.05, high=80.0)
    promotion = 1 + 3 * (uniform(generator, rows, length) < 0.02) * chance(generator, 0.2, rows, 1)
    uneven = torch.exp(0.7 * normal(generator, rows, length) * uniform(generator, rows, 1)) * promotion
    drawn = torch.poisson((rate * uneven).clamp_max(1e4), generator=generator)
    present = uniform(generator, rows, length) < uniform(generator, rows, 1, low=0.1, high=0.9)
    return switch(generator, (drawn, drawn * present), (75, 25))


def shapes(rows: int, length: int, generator: Generator) -> Tensor:
    """Sawtooth, triangle, square and pulse trains, steps and ramps, with little to some noise."""
    periods = period(generator, rows).clamp_min(3)
    turn = (steps(generator, length) / periods + uniform(generator, rows, 1)) % 1
    square = (turn < uniform(generator, rows, 1, low=0.05, high=0.7)).float()
    pulse = 3 * (turn < 1.01 / periods).float()
    jumps = (chance(generator, 0.006, rows, length) * normal(generator, rows, length) * 2).cumsum(-1)
    shape = switch(generator, (turn, 1 - (2 * turn - 1).abs(), square, pulse, jumps))
    shape = shape + trend(generator, rows, length) * some(generator, rows, 0.4, 0.1, 2.0)
    shape = shape + 0.5 * jumps * chance(generator, 0.3, rows, 1)
    return shape + noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.002, high=0.4)


def on_off(rows: int, length: int, generator: Generator) -> Tensor:
    """Machine metrics: plateaus, bursts, periodic jobs, saturation at a ceiling."""
    busy = torch.sigmoid(
        20 * (slow(generator, rows, length, 0.9, 0.998) - uniform(generator, rows, 1, low=-0.5, high=1.5))
    )
    jobs = (season(generator, rows, length) > uniform(generator, rows, 1, low=0.3, high=1.5)).float()
    bursts = convolve(
        (uniform(generator, rows, length) < 0.01).float(),
        uniform(generator, rows, 1, low=0.5, high=0.97) ** steps(generator, length),
    )
    load = switch(generator, (busy, jobs, bursts, busy + jobs)) + 0.1 * slow(generator, rows, length, 0.9, 0.999)
    load = load + noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.003, high=0.3)
    return switch(generator, (load, load.clamp(0, 0.8)))


def growth(rows: int, length: int, generator: Generator) -> Tensor:
    """Smooth yearly or quarterly quantities: compounding growth whose rate drifts, shares that saturate."""
    inertia = uniform(generator, rows, 1, low=0.3, high=0.98) ** steps(generator, length)
    shock = standardize(convolve(noise(generator, rows, length), inertia))
    rate = 0.02 * normal(generator, rows, 1) + log_uniform(generator, rows, 1, low=0.0005, high=0.05) * shock
    rate = rate - rate.mean(-1, keepdim=True) * chance(generator, 0.6, rows, 1)
    path = rate.cumsum(-1)
    quantity = standardize(torch.exp(path.clamp(-7, 7)))
    share = torch.sigmoid(standardize(path) * uniform(generator, rows, 1, low=0.5, high=3) + normal(generator, rows, 1))
    smooth = switch(generator, (quantity, standardize(path), standardize(share)), (5, 3, 2))
    return smooth + noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.0005, high=0.2)


def attention(rows: int, length: int, generator: Generator) -> Tensor:
    """Waves of attention or infection: bursts that decay by a power or exponentially, on a weekly rhythm."""
    time = steps(generator, length)
    power = (1 + time / log_uniform(generator, rows, 1, low=1, high=20)) ** -uniform(
        generator, rows, 1, low=0.8, high=2.5
    )
    fade = torch.exp(-time / log_uniform(generator, rows, 1, low=2, high=100))
    kernel = switch(generator, (power, fade))
    hits = (uniform(generator, rows, length) < log_uniform(generator, rows, 1, low=0.003, high=0.05)).float()
    burst = convolve(hits * torch.exp(normal(generator, rows, length)), kernel)
    weekly = 1 + 0.4 * torch.tanh(season(generator, rows, length, one_of(generator, rows, (7.0, 7.0, 24.0, 52.0))))
    base = torch.exp(0.5 * slow(generator, rows, length, 0.98, 0.9995))
    error = torch.exp(log_uniform(generator, rows, 1, low=0.02, high=0.5) * noise(generator, rows, length).clamp(-4, 4))
    return (base + burst * uniform(generator, rows, 1, high=5.0)) * weekly * error


def calendar_events(rows: int, length: int, generator: Generator) -> Tensor:
    """Days, weeks or months with peaks at fixed places of the year or month: holidays, paydays, month ends."""
    per_year = one_of(generator, rows, (365.25, 365.25, 52.18, 12.0))
    turn = (steps(generator, length) / per_year + uniform(generator, rows, 1)) % 1
    base = trend(generator, rows, length) + season(generator, rows, length, one_of(generator, rows, (7.0, 12.0, 4.35)))
    peaks = torch.zeros(rows, length, device=generator.device)
    for _ in range(4):
        centre = uniform(generator, rows, 1)
        width = log_uniform(generator, rows, 1, low=1.0, high=4.0) / per_year
        distance = torch.minimum((turn - centre).abs(), 1 - (turn - centre).abs())
        peaks = peaks + normal(generator, rows, 1) * 2 * torch.exp(-0.5 * (distance / width) ** 2)
    month = (
        torch.exp(-((steps(generator, length) + uniform(generator, rows, 1) * 30.4) % 30.4))
        * normal(generator, rows, 1)
        * 2
    )
    total = base * uniform(generator, rows, 1) + peaks + month * (per_year > 300) * chance(generator, 0.5, rows, 1)
    total = total + noise(generator, rows, length) * log_uniform(generator, rows, 1, low=0.05, high=0.8)
    sales = torch.exp(0.5 * standardize(total).clamp(-4, 5))
    return switch(generator, (total, sales))
