"""Commands in containers: synchronous, streamed with and without a terminal, and attaching to the program itself."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from k8sext.infra import upgrade
from k8sext.infra.cri.proto import api_pb2 as api
from tests.infra.cri.spdy_client import Client
from tests.support.eventually import eventually_async

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


class Stream:
    """The client's end: what kubectl's library does."""

    def __init__(self, channel: aiohttp.ClientWebSocketResponse) -> None:
        self.channel = channel
        self.received = {number: bytearray() for number in (1, 2, 3)}

    async def until(self, channel: int, text: bytes) -> None:
        """Read until a channel has brought this text."""
        while text not in self.received[channel]:
            await self._read()

    async def status(self) -> dict[str, Any]:
        """Read to the end and return the Status."""
        while not self.channel.closed:
            await self._read()
        return json.loads(self.received[3])

    async def _read(self) -> None:
        message = await self.channel.receive(timeout=20)
        if message.type == aiohttp.WSMsgType.BINARY:
            self.received[message.data[0]] += message.data[1:]


async def execute(
    runtime: Any, session: aiohttp.ClientSession, container: str, *command: str, protocol: str = V5, **options: Any
) -> Stream:
    request = api.ExecRequest(container_id=container, cmd=command, **{"stdout": True, **options})
    url = (await runtime.calls.Exec(request)).url
    return Stream(await session.ws_connect(url, protocols=[protocol], autoping=True))


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_a_command_answers_with_output_and_exit_code(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    done = await runtime.execute(container, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)


async def test_a_command_sees_the_environment_of_its_container(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"], envs=[api.KeyValue(key="COLOUR", value=b"blue")])
    assert (await runtime.execute(container, "sh", "-c", "echo $COLOUR; pwd")).stdout.startswith(b"blue\n")


async def test_a_command_that_outlasts_its_timeout_is_killed(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    pid_file = runtime.logs / "pid"
    error = await runtime.refusal(
        runtime.execute(container, "sh", "-c", f"echo $$ > {pid_file}; sleep 4321", timeout=1)
    )
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "timed out after 1 s" in (error.details() or "")
    await eventually_async(lambda: not _runs(int(pid_file.read_text())))


async def test_a_missing_command_is_an_error_with_a_sentence(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    error = await runtime.refusal(runtime.execute(container, "no-such-program"))
    assert "there is no program 'no-such-program'" in (error.details() or "")


async def test_commands_need_a_container_that_runs(runtime: Any) -> None:
    container = await runtime.run(["true"])
    await runtime.ended(container)
    for call in (
        runtime.execute(container, "true"),
        runtime.calls.Exec(api.ExecRequest(container_id=container, cmd=["true"], stdout=True)),
        runtime.calls.Attach(api.AttachRequest(container_id=container, stdout=True)),
    ):
        assert (await runtime.refusal(call)).code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("protocol", [V5, V4])
async def test_streamed_output_and_exit_code_arrive(runtime: Any, session: Any, protocol: str) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(
        runtime, session, container, "sh", "-c", "echo out; echo err >&2; exit 3", protocol=protocol, stderr=True
    )
    assert stream.channel.protocol == protocol
    status = await stream.status()
    assert (stream.received[1], stream.received[2]) == (b"out\n", b"err\n")
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_input_is_passed_on_and_half_closed(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(runtime, session, container, "sha256sum", stdin=True)
    data = b"0123456789abcdef" * 20000
    await stream.channel.send_bytes(b"\x00" + data)
    await stream.channel.send_bytes(bytes([255, 0]))
    assert (await stream.status())["status"] == "Success"
    assert stream.received[1].decode().split()[0] == hashlib.sha256(data).hexdigest()


async def test_much_output_arrives_whole(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(runtime, session, container, "sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>&1 && echo")
    await stream.status()
    assert stream.received[1].count(b"\0") == 64 * 65536


async def test_a_terminal_has_a_size_and_one_stream(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(runtime, session, container, "sh", stdin=True, tty=True)
    await stream.channel.send_bytes(b'\x04{"Width": 111, "Height": 33}')
    await stream.channel.send_bytes(b"\x00stty size; test -t 0 && echo is-a-terminal >&2; exit 0\n")
    assert (await stream.status())["status"] == "Success"
    assert b"33 111" in stream.received[1]
    assert b"\nis-a-terminal" in stream.received[1]


async def test_a_command_ends_when_its_client_goes(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(runtime, session, container, "sh", "-c", "echo $$; exec sleep 4321")
    await stream.until(1, b"\n")
    pid = int(stream.received[1])
    await stream.channel.close()
    await eventually_async(lambda: not _runs(pid))


async def test_a_url_is_good_for_one_use(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    url = (await runtime.calls.Exec(api.ExecRequest(container_id=container, cmd=["true"], stdout=True))).url
    assert url.startswith("http://127.0.0.1:")
    await Stream(await session.ws_connect(url, protocols=[V5])).status()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(url, protocols=[V5])
    assert caught.value.status == 404


async def test_what_is_no_upgrade_is_refused_with_a_sentence(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    request = api.ExecRequest(container_id=container, cmd=["true"], stdout=True)
    for headers, status, said in (
        ({}, 400, "open this URL by SPDY/3.1, or as a WebSocket of v5.channel.k8s.io or"),
        (
            {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v9"},
            403,
            "unable to negotiate",
        ),
    ):
        async with session.get((await runtime.calls.Exec(request)).url, headers=headers) as answer:
            assert answer.status == status
            assert said in await answer.text()


@asynccontextmanager
async def over_spdy(url: str, *versions: str) -> AsyncIterator[tuple[Client, str]]:
    """A connection by SPDY, and the version of the protocol that was agreed on."""
    headers = [("X-Stream-Protocol-Version", version) for version in versions]
    async with upgrade.connect(url, "SPDY/3.1", headers) as ((reader, writer), answer):
        client = Client(reader, writer)
        yield client, answer["x-stream-protocol-version"]
        await client.close()


@pytest.mark.parametrize("version", ["v4", "v3", "v2", ""])
async def test_over_spdy_each_channel_is_a_stream(runtime: Any, version: str) -> None:
    container = await runtime.run(["sleep", "1000"])
    script = "cat; echo err >&2; exit 7"
    request = api.ExecRequest(container_id=container, cmd=["sh", "-c", script], stdin=True, stdout=True, stderr=True)
    wanted = f"{version}.channel.k8s.io".lstrip(".")
    async with over_spdy((await runtime.calls.Exec(request)).url, "v9.channel.k8s.io", wanted) as (client, agreed):
        assert agreed == wanted
        error, stdin, stdout, stderr = (
            client.open({"streamtype": kind}) for kind in ("error", "stdin", "stdout", "stderr")
        )
        text = os.urandom(300_000)
        client.send(stdin, text, fin=True)
        await eventually_async(lambda: client.ended >= {error, stdout, stderr})
        assert client.data[stdout] == text and client.data[stderr] == b"err\n"
        if version == "v4":
            assert json.loads(client.data[error])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        else:
            assert client.data[error] == b"command terminated with non-zero exit code: exit status 7"


async def test_over_spdy_a_terminal_gets_its_size_and_a_stream_that_nobody_knows_is_given_up(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    script = "while [ \"$(stty size)\" != '33 99' ]; do sleep 0.05; done; echo fits"
    request = api.ExecRequest(container_id=container, cmd=["sh", "-c", script], stdin=True, stdout=True, tty=True)
    async with over_spdy((await runtime.calls.Exec(request)).url, "v4.channel.k8s.io") as (client, _):
        error, stdin, stdout = (client.open({"streamtype": kind}) for kind in ("error", "stdin", "stdout"))
        other, again = client.open({"streamtype": "other"}), client.open({"streamtype": "stdin"})
        resize = client.open({"streamtype": "resize"})
        client.send(resize, b'{"Width":1,"Height":1}\n{"Width":99,"Height":33}\n')
        await eventually_async(lambda: client.ended >= {error, stdout})
        assert client.data[stdout].strip() == b"fits"
        assert {other, again} <= client.reset and stdin not in client.reset
        assert json.loads(client.data[error])["status"] == "Success"


async def test_over_spdy_a_command_ends_when_its_client_goes(runtime: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    pid_file = runtime.logs / "pid"
    request = api.ExecRequest(
        container_id=container, cmd=["sh", "-c", f"echo $$ > {pid_file}; exec sleep 4321"], stdout=True
    )
    async with over_spdy((await runtime.calls.Exec(request)).url, "v4.channel.k8s.io") as (client, _):
        for kind in ("error", "stdout"):
            client.open({"streamtype": kind})
        await eventually_async(lambda: pid_file.exists() and pid_file.read_text().strip())
        client.go_away()
        await eventually_async(lambda: not _runs(int(pid_file.read_text())))


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "base64.channel.k8s.io", "v4.base64.channel.k8s.io", None])
async def test_older_channels_are_served_too(runtime: Any, session: Any, protocol: str | None) -> None:
    container = await runtime.run(["sleep", "1000"])
    command = ["sh", "-c", "read word; echo $word; exit 7"]
    request = api.ExecRequest(container_id=container, cmd=command, stdin=True, stdout=True)
    url = (await runtime.calls.Exec(request)).url
    encoded, found = "base64" in (protocol or ""), {1: b"", 3: b""}
    async with session.ws_connect(url, protocols=[protocol] if protocol else []) as channel:
        assert channel.protocol == protocol
        if encoded:
            await channel.send_str("0" + base64.b64encode(b"hello\n").decode())
            await channel.send_str("0???")
            await channel.send_str("x")
        else:
            await channel.send_bytes(b"\0hello\n")
        async for message in channel:
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            number, data = (int(data[:1]), base64.b64decode(data[1:])) if encoded else (data[0], data[1:])
            found[number] += data
    assert found[1] == b"hello\n"
    if protocol == "v4.base64.channel.k8s.io":
        assert json.loads(found[3])["reason"] == "NonZeroExitCode"
    else:
        assert found[3] == b"command terminated with non-zero exit code: exit status 7"


async def test_attaching_shows_the_program_and_feeds_it(runtime: Any, session: Any) -> None:
    container = await runtime.shell("while read line; do echo got $line; done; echo end", stdin=True, stdin_once=True)
    url = (await runtime.calls.Attach(api.AttachRequest(container_id=container, stdin=True, stdout=True))).url
    stream = Stream(await session.ws_connect(url, protocols=[V5]))
    await stream.channel.send_bytes(b"\x00one\n")
    await stream.until(1, b"got one\n")
    await stream.channel.send_bytes(bytes([255, 0]))
    assert (await stream.status())["status"] == "Success"
    assert stream.received[1] == b"got one\nend\n"
    assert (await runtime.ended(container)).exit_code == 0
    assert runtime.log() == ["stdout F got one", "stdout F end"]


async def test_detaching_leaves_the_program_running(runtime: Any, session: Any) -> None:
    container = await runtime.shell("while read line; do echo got $line; done", stdin=True)
    for word in ("one", "two"):
        url = (await runtime.calls.Attach(api.AttachRequest(container_id=container, stdin=True, stdout=True))).url
        stream = Stream(await session.ws_connect(url, protocols=[V5]))
        await stream.channel.send_bytes(b"\x00" + word.encode() + b"\n")
        await stream.until(1, b"got " + word.encode())
        await stream.channel.close()
    assert (await runtime.status(container)).state == api.CONTAINER_RUNNING


@pytest.mark.parametrize(
    "frame", [b"", b"\x04", b"\x04{}", b'\x04{"Width": "x", "Height": 1}', b"\x04[]", b"\x09junk", bytes([255])]
)
async def test_malformed_frames_do_no_harm(runtime: Any, session: Any, frame: bytes) -> None:
    container = await runtime.run(["sleep", "1000"])
    stream = await execute(runtime, session, container, "sh", stdin=True, tty=True)
    await stream.channel.send_bytes(frame)
    await stream.channel.send_bytes(b"\x00exit 4\n")
    assert (await stream.status())["details"]["causes"][0]["message"] == "4"


async def test_a_slow_reader_does_not_stop_the_others(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    slow = await execute(runtime, session, container, "sh", "-c", "yes | head -c 30000000")
    quick = await asyncio.wait_for(runtime.execute(container, "echo", "quick"), 60)
    assert quick.stdout == b"quick\n"
    assert (await slow.status())["status"] == "Success"
    assert len(slow.received[1]) == 30000000


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
