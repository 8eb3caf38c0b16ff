"""Whatever comes in at the socket, an answer in words goes out, nothing breaks, and nothing outside the driver's folder
is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8sext.infra.csi.proto import csi_pb2 as csi
from tests.infra.csi.conftest import Driver, Mode, running

CONTROLLER = (
    *("CreateVolume", "DeleteVolume", "ValidateVolumeCapabilities", "ListVolumes", "GetCapacity"),
    *("CreateSnapshot", "DeleteSnapshot", "ListSnapshots", "ControllerExpandVolume"),
)
NODE = (
    *("NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume"),
    *("NodeGetVolumeStats", "NodeExpandVolume"),
)
METHODS = dict.fromkeys(CONTROLLER, "Controller") | dict.fromkeys(NODE, "Node")
IN_WORDS = {
    StatusCode.OK,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.ALREADY_EXISTS,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.OUT_OF_RANGE,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.ABORTED,
}
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def victim() -> Iterator[Driver]:
    yield from running("link")


def send(driver: Driver, method: str, body: bytes) -> StatusCode:
    path = f"/csi.v1.{METHODS[method]}/{method}"
    call = driver.channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    try:
        call(body, timeout=20)
    except grpc.RpcError as error:
        return error.code()  # type: ignore[attr-defined]
    return StatusCode.OK


@SETTINGS
@given(method=st.sampled_from(sorted(METHODS)), body=st.binary(max_size=200))
def test_bytes_that_mean_nothing_do_no_harm(victim: Driver, method: str, body: bytes) -> None:
    code = send(victim, method, body)
    request = getattr(csi, f"{method}Request")
    try:
        request.FromString(body)
    except Exception:
        assert code in (StatusCode.INTERNAL, StatusCode.UNKNOWN)  # what gRPC says of a message that cannot be read
    else:
        assert code in IN_WORDS
    victim.identity.Probe(csi.ProbeRequest())


words = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "/", "..", "/../../etc/passwd", "vol-../../x", "vol-" + "0" * 20, "snap-" + "0" * 20, "a\0b", "x" * 5000]
    ),
)
sizes = st.integers(-(2**63), 2**63 - 1)


def some_capability(mode: Any, block: bool, kind: str) -> csi.VolumeCapability:
    found = csi.VolumeCapability(access_mode=Mode(mode=mode))
    if block:
        found.block.SetInParent()
    else:
        found.mount.fs_type = kind
    return found


capabilities = st.builds(some_capability, st.sampled_from(range(8)), st.booleans(), words)
FIELDS: dict[str, Any] = {
    "name": words,
    "volume_id": words,
    "snapshot_id": words,
    "source_volume_id": words,
    "starting_token": words,
    "max_entries": st.integers(-(2**31), 2**31 - 1),
    "capacity_range": st.builds(lambda a, b: csi.CapacityRange(required_bytes=a, limit_bytes=b), sizes, sizes),
    "volume_capability": capabilities,
    "volume_capabilities": st.lists(capabilities, max_size=2),
    "staging_target_path": words,
    "target_path": words,
    "volume_path": words,
    "readonly": st.booleans(),
}


@SETTINGS
@given(data=st.data(), method=st.sampled_from(sorted(METHODS)), real=st.booleans())
def test_requests_that_make_no_sense_are_answered_in_words(victim: Driver, data: Any, method: str, real: bool) -> None:
    known = victim.create("known", 4096).volume_id
    kind = getattr(csi, f"{method}Request")
    chosen = {name: data.draw(FIELDS[name], label=name) for name in kind.DESCRIPTOR.fields_by_name if name in FIELDS}
    if real and "volume_id" in chosen and method != "DeleteVolume":
        chosen["volume_id"] = known
    secret = victim.folder / "secret"
    secret.write_text("untouched")
    for name in ("target_path", "staging_target_path"):
        if chosen.get(name) == "/":
            chosen[name] = str(secret)
    assert send(victim, method, kind(**chosen).SerializeToString()) in IN_WORDS | {StatusCode.INTERNAL}
    assert secret.read_text() == "untouched"
    assert {path.name for path in (victim.data / "aside").iterdir()} == set()
    assert Path("/etc/passwd").exists()
    assert known in victim.ids()
