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

_M4COMP_COPIES = """
B&IND1447 B&IND1470 B&IND1499 B&IND1500 ECON0001 ECON0045 ECON0053 ECON0065 ECON0095 ECON0217 ECON0236 ECON0398
ECON0399 ECON0400 ECON0401 ECON0408 ECON0409 ECON0435 ECON0436 ECON0440 ECON0441 ECON0449 ECON0454 ECON0456
ECON0457 ECON0469 ECON0477 ECON0480 ECON0483 ECON0488 ECON0507 ECON0518 ECON0531 ECON0532 ECON0538 ECON0539
ECON0551 ECON0573 ECON0617 ECON0620 ECON0648 ECON0660 ECON0773 ECON0778 ECON1287 ECON1290 ECON1293 ECON1296
ECON1299 ECON1331 ECON1395 ECON1396 ECON1397 ECON1398 ECON1407 ECON1408 ECON1409 ECON1432 ECON1486 ECON1487
ECON1492 ECON1493 ECON1499 ECON1515 ECON1519 ECON1536 ECON1546 ECON1554 ECON1556 ECON1580 ECON1717 ECON1749
"""

FORBIDDEN_SERIES: Mapping[str, frozenset[str]] = {"m4comp_other_10k": frozenset(_M4COMP_COPIES.split())}
"""Source to ids of series that are left out when it is read.

Quarterly series, or monthly ones taken to quarters, of which 36 changes in a row correlate above 0.97 with those of a
series that models are compared on: other vintages, units or price bases of the same macro-economic figure, which the
comparison of windows of 12 values does not see.
"""


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
