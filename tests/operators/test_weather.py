"""Weather: the sample is always the same, and the public service may do what it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from k8sext.resources import DayReport
from k8sext.weather import ProviderUnreachable, UnknownCity, open_meteo, past_days, sample_cities


async def test_every_city_has_a_fortnight_that_fits_the_resource() -> None:
    assert len(sample_cities()) >= 10
    for city in sample_cities():
        days = await past_days(city, 14)
        assert [day.date for day in days] == [f"2026-06-{number:02}" for number in range(1, 15)]
        for day in days:
            assert DayReport(**vars(day)).low < day.high


async def test_fewer_days_are_the_last_ones() -> None:
    assert await past_days("Oslo", 3) == (await past_days("Oslo", 14))[-3:]


@pytest.mark.parametrize("name", ["zurich", "ZÜRICH", " Zürich"])
async def test_case_accents_and_blanks_do_not_matter(name: str) -> None:
    assert await past_days(name, 1) == await past_days("Zürich", 1)


async def test_an_unknown_city_comes_with_near_matches() -> None:
    with pytest.raises(UnknownCity, match="did you mean Amsterdam"):
        await past_days("Amsterdan", 1)
    with pytest.raises(UnknownCity, match="check the spelling"):
        await past_days("Qqqq", 1)


@pytest.mark.parametrize(
    ("days", "provider", "sentence"), [(0, "sample", "1 to 14"), (15, "sample", "1 to 14"), (1, "x", "choose")]
)
async def test_what_makes_no_sense_is_refused(days: int, provider: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        await past_days("Oslo", days, provider)


class Service:
    """A stand-in for Open-Meteo that answers what the test wants."""

    def __init__(self) -> None:
        self.places: Any = [{"name": "Oslo", "latitude": 59.9, "longitude": 10.7}]
        self.failures: list[int] = []
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.failures:
            return web.Response(status=self.failures.pop(0))
        if request.path == "/v1/search":
            return web.json_response({"results": self.places} if self.places else {})
        days = int(request.query["past_days"])
        dates = [f"2026-07-{number:02}" for number in range(1, days + 2)]
        columns = {"weather_code": 63, "temperature_2m_min": 8.6, "temperature_2m_max": 15.2, "precipitation_sum": 3.7}
        return web.json_response(
            {"daily": {"time": dates} | {name: [value] * len(dates) for name, value in columns.items()}}
        )


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_get("/{path:.*}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("K8SEXT_OPEN_METEO", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setattr(open_meteo, "FIRST_PAUSE", 0.01)
    yield service
    await runner.cleanup()


async def test_the_service_is_asked_for_the_place_and_then_for_the_days_before_today(service: Service) -> None:
    days = await past_days("oslo", 2, "open-meteo")
    assert service.asked == ["/v1/search", "/v1/forecast"]
    assert [(day.date, day.sky, day.low, day.high, day.rain) for day in days] == [
        ("2026-07-01", "rain", 9, 15, 4),
        ("2026-07-02", "rain", 9, 15, 4),
    ]


async def test_a_service_that_stumbles_is_asked_again(service: Service) -> None:
    service.failures = [503, 429]
    assert len(await past_days("Oslo", 1, "open-meteo")) == 1


@pytest.mark.parametrize(("failures", "asked"), [([500] * 3, 3), ([400], 1)])
async def test_a_service_that_does_not_recover_is_unreachable(
    service: Service, failures: list[int], asked: int
) -> None:
    service.failures = failures
    with pytest.raises(ProviderUnreachable, match="use the provider sample"):
        await past_days("Oslo", 1, "open-meteo")
    assert len(service.asked) == asked


async def test_no_network_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SEXT_OPEN_METEO", "http://127.0.0.1:9")
    monkeypatch.setattr(open_meteo, "FIRST_PAUSE", 0.01)
    with pytest.raises(ProviderUnreachable, match="check the network"):
        await past_days("Oslo", 1, "open-meteo")


async def test_a_place_that_the_service_does_not_know_is_unknown(service: Service) -> None:
    service.places = [{"name": "Osloß", "latitude": 1, "longitude": 1}]
    with pytest.raises(UnknownCity, match="Osloß"):
        await past_days("Oslow", 1, "open-meteo")
    service.places = []
    with pytest.raises(UnknownCity, match="check the spelling"):
        await past_days("Oslow", 1, "open-meteo")
