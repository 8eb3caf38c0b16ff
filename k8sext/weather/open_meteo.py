"""Open-Meteo, a public weather service: first the city's place on the globe, then the weather there.

https://open-meteo.com/en/docs and https://open-meteo.com/en/docs/geocoding-api. The service may be slow or away: every
question has a time limit and is asked three times. $K8SEXT_OPEN_METEO names another server with the same interface.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp

from k8sext.weather.day import Day, ProviderUnreachable, UnknownCity

PLACES = "https://geocoding-api.open-meteo.com"
WEATHER = "https://api.open-meteo.com"
TRIES = 3
TIME_LIMIT = 10.0
FIRST_PAUSE = 0.5

DAILY = "weather_code,temperature_2m_min,temperature_2m_max,precipitation_sum"
SKIES = (
    ((0, 1), "clear"),
    ((2, 2), "partly cloudy"),
    ((3, 3), "cloudy"),
    ((45, 48), "fog"),
    ((51, 67), "rain"),
    ((71, 77), "snow"),
    ((80, 82), "showers"),
    ((85, 86), "snow"),
    ((95, 99), "thunderstorm"),
)
"""What the WMO's weather codes mean, in one word each."""


async def past_days(city: str, days: int) -> list[Day]:
    """Return the weather of the past days in a city. Raises UnknownCity and ProviderUnreachable."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIME_LIMIT), trust_env=True) as session:
        place = await _place(session, city)
        query = {"latitude": place["latitude"], "longitude": place["longitude"], "timezone": "auto"}
        query |= {"daily": DAILY, "past_days": days, "forecast_days": 1}
        answer = await _ask(session, WEATHER, "/v1/forecast", query)
        try:
            daily = answer["daily"]
            columns = [daily["time"], *(daily[name] for name in DAILY.split(","))]
            return [_day(*row) for row in list(zip(*columns, strict=True))[:days]]
        except (LookupError, TypeError, ValueError) as error:
            raise ProviderUnreachable(f"Open-Meteo's answer makes no sense ({error!r}).") from error


async def _place(session: aiohttp.ClientSession, city: str) -> dict[str, Any]:
    answer = await _ask(session, PLACES, "/v1/search", {"name": city, "count": 5, "language": "en"})
    found = answer.get("results") or []
    exact = [place for place in found if place["name"].casefold() == city.strip().casefold()]
    if not exact:
        raise UnknownCity(city, list(dict.fromkeys(place["name"] for place in found))[:3])
    return exact[0]


async def _ask(session: aiohttp.ClientSession, server: str, path: str, query: dict[str, Any]) -> dict[str, Any]:
    url = os.environ.get("K8SEXT_OPEN_METEO", server) + path
    last: Exception | str = ""
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        try:
            async with session.get(url, params=query) as response:
                if response.status == 200:
                    return await response.json()
                last = f"HTTP {response.status}"
                if response.status < 500 and response.status != 429:
                    break
        except TimeoutError:
            last = f"no answer within {TIME_LIMIT:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            last = error
    raise ProviderUnreachable(f"Open-Meteo cannot be reached ({last}): check the network, or use the provider sample.")


def _day(date: str, code: int, low: float, high: float, rain: float) -> Day:
    sky = next((word for (first, final), word in SKIES if first <= code <= final), f"code {code}")
    return Day(date, sky, round(low), round(high), round(rain))
