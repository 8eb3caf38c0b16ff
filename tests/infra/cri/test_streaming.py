"""Commands in containers: synchronous, streamed with and without a terminal, and attaching to the program itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from k8sext.infra.cri.proto import api_pb2 as api
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


async def test_an_upgrade_to_spdy_is_refused_with_a_sentence(runtime: Any, session: Any) -> None:
    container = await runtime.run(["sleep", "1000"])
    url = (await runtime.calls.Exec(api.ExecRequest(container_id=container, cmd=["true"], stdout=True))).url
    async with session.post(url, headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}) as answer:
        assert answer.status == 400
        assert "SPDY is not served here" in await answer.text()


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
