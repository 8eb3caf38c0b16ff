"""Credentials that a program gives: asked for again when they expire and when the server refuses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.request import ApiError, request

FAR, PAST = "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


class Server:
    """Lets in who shows a token of `valid`, and remembers what it was shown."""

    def __init__(self) -> None:
        self.valid: set[str] = set()
        self.shown: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.shown.append(token)
        return web.json_response({}, status=200 if token in self.valid else 401)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


def kubeconfig(folder: Path, server: Server, expires: str) -> Path:
    """A kubeconfig whose user is given by a program: token-1, token-2 and so on, one more each time it is asked."""
    status = {"token": "token-NUMBER"} | ({"expirationTimestamp": expires} if expires else {})
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (folder / "answer").write_text(json.dumps(answer))
    program = folder / "program"
    program.write_text(f"#!/bin/sh\necho >> {folder}/asked; sed s/NUMBER/$(wc -l < {folder}/asked)/ {folder}/answer\n")
    program.chmod(0o755)
    user = {"exec": {"apiVersion": answer["apiVersion"], "command": str(program), "interactiveMode": "Never"}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cloud",
        "contexts": [{"name": "cloud", "context": {"cluster": "cloud", "user": "me"}}],
        "clusters": [{"name": "cloud", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "me", "user": user}],
    }
    (folder / "config").write_text(json.dumps(content))
    return folder / "config"


@pytest.mark.parametrize("expires", [FAR, ""])
async def test_a_token_that_is_refused_is_asked_for_again(tmp_path: Path, server: Server, expires: str) -> None:
    client = await from_kubeconfig(kubeconfig(tmp_path, server, expires))
    server.valid = {"token-1"}
    for _ in range(3):
        await request(client, "GET", "/api")
    server.valid = {"token-2"}  # as on the day after
    await asyncio.gather(*(request(client, "GET", "/api") for _ in range(5)))
    await client.close()
    assert set(server.shown) == {"token-1", "token-2"}, "the program was asked once for all who were refused"


async def test_a_token_that_has_expired_is_not_shown(tmp_path: Path, server: Server) -> None:
    client = await from_kubeconfig(kubeconfig(tmp_path, server, PAST))
    server.valid = {"token-2", "token-3"}
    for _ in range(2):
        await request(client, "GET", "/api")
    await client.close()
    assert server.shown == ["token-2", "token-3"]


async def test_who_is_refused_with_a_new_token_too_is_told_so_once(tmp_path: Path, server: Server) -> None:
    client = await from_kubeconfig(kubeconfig(tmp_path, server, FAR))
    with pytest.raises(ApiError) as refused:
        await request(client, "GET", "/api")
    await client.close()
    assert (refused.value.code, server.shown) == (401, ["token-1", "token-2"])
