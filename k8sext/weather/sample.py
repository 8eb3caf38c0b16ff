"""Sample data: a fortnight of made-up but plausible weather for some cities, in sample.json beside this file."""

from __future__ import annotations

import difflib
import functools
import json
import unicodedata
from datetime import date, timedelta
from importlib import resources

from k8sext.weather.day import Day, UnknownCity

TODAY = date(2026, 6, 15)
"""The day on which the sample was taken, so that the past days are always the same."""


def past_days(city: str, days: int) -> list[Day]:
    """Return the past days in a city of the sample; case and accents do not matter. Raises UnknownCity."""
    name = find(city)
    if name is None:
        raise UnknownCity(city, near_matches(city))
    rows = _data()[name][-days:]
    first = TODAY - timedelta(days=days)
    return [Day(str(first + timedelta(days=number)), *row) for number, row in enumerate(rows)]


def sample_cities() -> list[str]:
    """Return the names of all cities in the sample."""
    return sorted(_data())


def find(city: str) -> str | None:
    """Return the sample's name of a city, None if it is not there."""
    return _plain_names().get(_plain(city))


def near_matches(city: str) -> list[str]:
    """Return up to three names that look like this one, the nearest first."""
    return [_plain_names()[name] for name in difflib.get_close_matches(_plain(city), _plain_names(), n=3, cutoff=0.6)]


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@functools.cache
def _data() -> dict[str, list[tuple[str, int, int, int]]]:
    return json.loads(resources.files("k8sext.weather").joinpath("sample.json").read_text(encoding="utf-8"))


@functools.cache
def _plain_names() -> dict[str, str]:
    return {_plain(name): name for name in _data()}
