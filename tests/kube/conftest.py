"""A false API server: each request is answered by the next step of a script that the test writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Script:
    """The answers to come and the requests that came. When the script is over, watches stay open and silent."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await (self.steps.pop(0) if self.steps else stream())(request)


def pods(*names: str, version: int = 1) -> Step:
    """A list of pods."""

    async def step(_: web.Request) -> web.StreamResponse:
        items = [{"metadata": {"name": name, "resourceVersion": str(version)}} for name in names]
        return web.json_response(
            {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}
        )

    return step


def status(code: int, reason: str = "") -> Step:
    """A refusal."""

    async def step(_: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"kind": "Status", "code": code, "reason": reason, "message": f"no: {reason}"}, status=code
        )

    return step


def stream(*lines: Any, end: str = "silence") -> Step:
    """A watch: these events, or raw bytes, and then silence, an orderly end ("close") or a broken connection
    ("cut")."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for line in lines:
            await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        if end == "cut":
            assert request.transport
            request.transport.abort()
        elif end == "silence":
            await asyncio.Event().wait()
        return response

    return step


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": {"kind": "Pod", "metadata": {"name": name, "resourceVersion": str(version)}}}


@pytest.fixture
async def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[ApiClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    api = ApiClient(configuration)
    yield api
    await api.close()
    await runner.cleanup()


@pytest.fixture
def certificate_authority() -> str:
    """A certificate in PEM, good for nothing but being read."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
