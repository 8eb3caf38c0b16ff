"""The weather of the past days in a city: from data that comes with the package, or from a public service.

`past_days("Amsterdam", 3)` is all that others call. The default provider `sample` needs no network and always answers
the same: its fortnight ends on 14 June 2026. The provider `open-meteo` asks https://open-meteo.com, without an account.
"""

from __future__ import annotations

from k8sext.weather.day import Day, ProviderUnreachable, UnknownCity
from k8sext.weather.sample import sample_cities

__all__ = ["PROVIDERS", "Day", "ProviderUnreachable", "UnknownCity", "past_days", "sample_cities"]

PROVIDERS = ("sample", "open-meteo")


async def past_days(city: str, days: int, provider: str = "sample") -> list[Day]:
    """Return the weather of the past `days` days (1 to 14), oldest first.

    Raises UnknownCity, which lists near matches, ProviderUnreachable, and ValueError for a provider or a number that
    there is not.
    """
    if not 1 <= days <= 14:
        raise ValueError(f"days is {days}: ask for 1 to 14 days.")
    if provider == "sample":
        from k8sext.weather import sample

        return sample.past_days(city, days)
    if provider == "open-meteo":
        from k8sext.weather import open_meteo

        return await open_meteo.past_days(city, days)
    raise ValueError(f"There is no provider {provider!r}: choose one of {', '.join(PROVIDERS)}.")
