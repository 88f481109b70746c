"""Data that must not be trained on: the sets that models are evaluated on, and known copies of their series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tsar.errors import CorpusError

_FORBIDDEN = {
    # Chronos zero-shot benchmark (Ansari et al., 2024, appendix, benchmark II)
    "M1 competition": r"m1",
    "M3 competition": r"m3",
    "M4 quarterly": r"m4_(.*_)?quarterly",
    "M4 yearly": r"m4_(.*_)?yearly",
    "M5 competition": r"m5",
    "NN3 and NN5 competitions": r"nn[35]",
    "CIF 2016": r"cif_?2016",
    "tourism": r"tourism",
    "hospital": r"^hospital$",
    "car parts": r"car_?parts",
    "COVID-19 deaths": r"covid_(.*_)?deaths",
    "FRED-MD": r"fred_?[mq]d",
    "exchange rate": r"exchange_rates?",
    "ETT": r"ett|ett[hm][12]",
    "Dominick's": r"dominicks?",
    "ERCOT load": r"ercot|ercot_load",
    "Australian electricity": r"(australian?|aus)_(.*_)?electricity(_demand)?|vic_?elec|elec_?demand",
    "San Francisco traffic": r"^traffic$|(sf|san_francisco)_traffic|pems.*",
    "Australian weather": r"^weather$|(australian?|aus)_weather",
    # sets that models are compared on during development
    "M4 hourly": r"m4_(.*_)?hourly",
    "M4 weekly": r"m4_(.*_)?weekly",
    "M4comp quarterly": r"m4comp_quarterly",
    "bike sharing": r"bike_sharing",
    "Valencia air quality": r"air_quality_valencia",
    "Australian retail": r"aus(tralian)?_retail",
    "European solar": r"solar_eu",
    "river flow": r"river_flow",
    "Wikipedia page views (development)": r"wiki_pageviews_daily",
    "OWID sample": r"owid_yearly_sample",
}
"""Data sets that evaluation uses: a pattern of whole words (``^…$``: of the whole name) in the plain form of a name."""

_DECORATION = re.compile(r"\b(monash|gluonts|dataset|data|hourly|daily|weekly|monthly)\b")


def refuse_forbidden(names: Iterable[str]) -> None:
    """Raise if a name belongs to a data set that evaluation uses.

    Raises
    ------
    CorpusError
        ``corpus.forbidden`` with the names.
    """
    found = {name: reason for name in names if (reason := forbidden_reason(name))}
    if found:
        raise CorpusError(
            f"Training on an evaluation set is forbidden: {', '.join(sorted(set(found.values())))}.",
            code="corpus.forbidden",
            item_ids=found,
            hint="Take the source out: a model that has seen it can no longer be reported zero-shot on it.",
        )


def forbidden_reason(name: str) -> str | None:
    """Return the evaluation set that a source's name stands for, or None."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    bare = "_".join(_DECORATION.sub(" ", plain.replace("_", " ")).split())
    for reason, pattern in _FORBIDDEN.items():
        anywhere = rf"(^|_)(?:{pattern})(_|$)"
        if re.search(anywhere, plain) or (pattern.startswith("^") and re.search(anywhere, bare)):
            return reason
    return None
