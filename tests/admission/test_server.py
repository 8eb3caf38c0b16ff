"""The transport, with clients that behave and clients that do not."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from cryptography import x509 as certificate_of

from k8sext.admission import AdmissionRequest, Denied, Serving, authenticator, mutating, serve, validating
from k8sext.admission.server import LARGEST_BODY
from k8sext.kube.objects import Json
from tests.admission.reviews import admission, report, token


@validating("weatherreports.k8s.packt.com")
def known(report: Json, request: AdmissionRequest) -> None:
    match report["spec"]["city"]:
        case "Atlantis":
            raise Denied("nobody lives there")
        case "Pompeii":
            raise RuntimeError("the mountain speaks")
        case "Carthage":
            sys.exit("delenda")
        case "Ys":
            raise TimeoutError("the gate was not closed in time")


@mutating("weatherreports.k8s.packt.com")
def date(report: Json, _request: AdmissionRequest) -> None:
    report["spec"]["when"] = datetime.date(2026, 1, 1)


@validating("weatherreports.k8s.packt.com", timeout=1)
def stuck(_report: Json, _request: AdmissionRequest) -> None:
    time.sleep(3)


@validating("weatherreports.k8s.packt.com", timeout=1)
async def slow(_report: Json, _request: AdmissionRequest) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        cancelled.append(time.monotonic())
        raise


@authenticator
def nobody(_token: str) -> None:
    return None


cancelled: list[float] = []


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A server without an API server: the decorators' functions, served but not registered."""
    serving = Serving([known, date, slow, stuck, nobody], None, "127.0.0.1", 0)
    serving.come_back()
    yield serving
    serving.stop()


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that trusts the server, as the API server does by the caBundle."""
    connector = aiohttp.TCPConnector(ssl=trusting(serving), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def trusting(serving: Serving) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=serving.authority.certificate)


async def ask(
    client: aiohttp.ClientSession, serving: Serving, city: str = "Paris", **more: Any
) -> tuple[int, Json | str]:
    body = json.dumps(admission(object=report(city) | more)).encode()
    headers = {"Content-Type": "application/json"}
    async with client.post(serving.url(known), data=body, headers=headers) as response:
        return response.status, await response.json() if response.status == 200 else await response.text()


async def test_it_answers_a_review_and_remembers_the_call(client: aiohttp.ClientSession, serving: Serving) -> None:
    status, found = await ask(client, serving, "Atlantis")
    assert status == 200 and isinstance(found, dict)
    assert found["response"]["status"]["message"] == "nobody lives there"
    call = serving.calls[-1]
    assert (call.webhook, call.kind, call.outcome) == ("known", "validating", "denied")
    assert (call.subject, call.user, call.call) == ("CREATE weatherreports lesson/daily", "anna", "u-1")
    assert serving.last == (admission(object=report("Atlantis")), found)


@pytest.mark.parametrize(("city", "cause"), [("Pompeii", "the mountain speaks"), ("Carthage", "delenda")])
async def test_a_crash_is_answered_with_a_number_that_leads_to_the_traceback_in_the_log(
    client: aiohttp.ClientSession, serving: Serving, caplog: pytest.LogCaptureFixture, city: str, cause: str
) -> None:
    with caplog.at_level(logging.ERROR):
        status, text = await ask(client, serving, city)
    call = serving.calls[-1]
    assert status == 500 and isinstance(text, str) and call.call in text and cause not in text
    assert call.outcome == "crashed" and cause in call.detail
    record = next(record for record in caplog.records if call.call in record.getMessage())
    assert record.exc_info and cause in str(record.exc_info[1])
    assert call.call in serving.log and cause in serving.log and "Traceback" in serving.log
    assert (await ask(client, serving))[0] == 200, "the server did not survive"


async def test_a_patch_that_json_cannot_say_is_a_crash(client: aiohttp.ClientSession, serving: Serving) -> None:
    async with client.post(serving.url(date), json=admission(object=report())) as response:
        assert response.status == 500


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b"{}", "text/plain", 415, "send application/json"),
        (b"{}", "application/x-www-form-urlencoded", 415, "send application/json"),
        (b"{}", "application/json", 400, "this address answers AdmissionReview"),
        (b"", "application/json", 400, "not JSON"),
        (b"{", "application/json", 400, "not JSON"),
        (b"\xff\xfe\x00", "application/json", 400, "not JSON"),
        (b"[" * 100_000, "application/json", 400, "not JSON"),
        (b"null", "application/json", 400, "must be a JSON object"),
    ],
)
async def test_what_is_no_review_gets_a_status_and_a_sentence(
    client: aiohttp.ClientSession, serving: Serving, body: bytes, content_type: str, status: int, message: str
) -> None:
    async with client.post(serving.url(known), data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == status
        assert message in await response.text()
    assert serving.calls[-1].outcome == "refused"


async def test_unknown_addresses_and_methods_are_refused(client: aiohttp.ClientSession, serving: Serving) -> None:
    async with client.post(f"{serving.address}/validating/unknown", json={}) as response:
        assert response.status == 404 and "no webhook answers at" in await response.text()
    async with client.get(serving.url(known)) as response:
        assert response.status == 405


async def test_objects_of_three_mebibytes_pass_and_bodies_without_end_do_not(
    client: aiohttp.ClientSession, serving: Serving
) -> None:
    assert (await ask(client, serving, data="x" * 3 * 2**20))[0] == 200
    status, text = await ask(client, serving, data="x" * LARGEST_BODY)
    assert status == 413 and "larger than" in str(text)


async def test_two_hundred_calls_at_once_are_all_answered(client: aiohttp.ClientSession, serving: Serving) -> None:
    answers = await asyncio.gather(*[ask(client, serving, "Atlantis" if n % 2 else "Paris") for n in range(200)])
    assert [answer[1]["response"]["allowed"] for answer in answers] == [True, False] * 100  # type: ignore[index]


async def test_slow_and_silent_clients_hold_up_nobody(client: aiohttp.ClientSession, serving: Serving) -> None:
    port = serving._server.port
    half = (
        b"POST /validating/known HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    slow = [await asyncio.open_connection("127.0.0.1", port, ssl=trusting(serving)) for _ in range(50)]
    for _, writer in slow:
        writer.write(half)
    assert (await ask(client, serving))[0] == 200
    line = await asyncio.wait_for(slow[0][0].readline(), 45)
    assert b" 408 " in line
    for _, writer in silent + slow:
        writer.close()


async def test_a_caller_that_hangs_up_ends_the_function_too(
    client: aiohttp.ClientSession, serving: Serving, eventually: Callable[..., None]
) -> None:
    cancelled.clear()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.post(serving.url(slow), json=admission(object=report())), 0.3)
    await asyncio.to_thread(eventually, lambda: cancelled)


async def test_a_function_that_takes_too_long_is_answered_when_the_time_is_over(
    client: aiohttp.ClientSession, serving: Serving
) -> None:
    calls = [client.post(serving.url(webhook), json=admission(object=report())) for webhook in (stuck, slow)]
    responses = await asyncio.gather(*calls)
    for response, name in zip(responses, ("stuck", "slow"), strict=True):
        assert response.status == 504
        assert await response.text() == f"the webhook {name} did not answer within 1 s\n"
    assert sorted((call.webhook, call.outcome) for call in serving.calls) == [
        ("slow", "timed out"),
        ("stuck", "timed out"),
    ]
    assert (await ask(client, serving))[0] == 200


async def test_a_timeout_of_the_function_s_own_is_a_crash(client: aiohttp.ClientSession, serving: Serving) -> None:
    status, _ = await ask(client, serving, "Ys")
    assert status == 500 and serving.calls[-1].outcome == "crashed"


async def test_a_webhook_that_needs_flags_answers_the_api_server_only(serving: Serving) -> None:
    import yaml

    kubeconfig = yaml.safe_load(serving.kubeconfig(nobody))
    assert kubeconfig["clusters"][0]["cluster"]["server"] == serving.url(nobody)
    stranger = trusting(serving)
    async with aiohttp.ClientSession() as session:
        async with session.post(serving.url(nobody), json=token("x"), ssl=stranger) as response:
            assert response.status == 403 and "show the client certificate" in await response.text()
        async with session.post(
            serving.url(nobody), json=token("x"), ssl=with_certificate(serving, kubeconfig)
        ) as response:
            assert await response.json() == {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "status": {"authenticated": False},
            }


def with_certificate(serving: Serving, kubeconfig: Json) -> ssl.SSLContext:
    import base64
    import tempfile
    from pathlib import Path

    context = trusting(serving)
    user = kubeconfig["users"][0]["user"]
    with tempfile.TemporaryDirectory() as folder:
        for key in ("client-certificate-data", "client-key-data"):
            (Path(folder) / key).write_bytes(base64.b64decode(user[key]))
        context.load_cert_chain(Path(folder) / "client-certificate-data", Path(folder) / "client-key-data")
    return context


async def test_plain_http_is_not_spoken(serving: Serving) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(serving.url(known).replace("https", "http"), json={})


def test_versions_of_tls_before_1_2_are_not_spoken(serving: Serving) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", serving._server.port)) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain)


async def test_a_certificate_is_changed_while_calls_are_under_way(
    client: aiohttp.ClientSession, serving: Serving
) -> None:
    def shown() -> int:
        pem = ssl.get_server_certificate(("127.0.0.1", serving._server.port))
        return certificate_of.load_pem_x509_certificate(pem.encode()).serial_number

    first = await asyncio.to_thread(shown)
    statuses: list[int] = []

    async def keep_asking() -> None:
        while len(statuses) < 300:
            statuses.append((await ask(client, serving))[0])

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for _ in range(3):
        await asyncio.to_thread(serving.rotate)
    await asyncio.gather(*asking)
    assert set(statuses) == {200}
    assert await asyncio.to_thread(shown) != first


def test_an_expired_certificate_is_noticed_by_the_next_connection(serving: Serving) -> None:
    serving.rotate(datetime.timedelta(minutes=-10))
    serving.restart()
    expired = pytest.raises(ssl.SSLCertVerificationError, match="expired")
    with socket.create_connection(("127.0.0.1", serving._server.port)) as plain, expired:
        trusting(serving).wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_server_that_went_down_comes_back_at_the_same_address(serving: Serving) -> None:
    port = serving._server.port
    serving.go_down()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    serving.come_back()
    socket.create_connection(("127.0.0.1", port)).close()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_running() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve(nobody, port=taken.getsockname()[1])


def test_only_webhooks_can_be_served() -> None:
    with pytest.raises(TypeError, match="decorate it with"):
        serve(os.getcwd)  # type: ignore[arg-type]
