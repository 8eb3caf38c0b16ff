"""What the plugin answers to requests that are wrong, in every way; nothing is changed by them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8sext.infra.cni import plugin, request

GOOD = {"cniVersion": "1.1.0", "name": "pods", "type": "k8sext-bridge", "ipam": {"subnet": "10.9.0.0/24"}}
POD = {"CNI_CONTAINERID": "one", "CNI_IFNAME": "eth0", "CNI_NETNS": "/proc/self/ns/net"}


def code(command, document=None, **environment):
    with pytest.raises(request.CniError) as caught:
        plugin.run(command, GOOD | (document or {}), POD | environment)
    assert str(caught.value)
    return caught.value.code


def test_version_is_told_whatever_else_is_wrong():
    assert plugin.run("VERSION", {"cniVersion": "0.9.0"}, {}) == {
        "cniVersion": "0.9.0",
        "supportedVersions": ["1.0.0", "1.1.0"],
    }


@pytest.mark.parametrize("version", ["0.4.0", "2.0.0", 1, None])
def test_other_versions_are_code_1(version):
    assert code("ADD", {"cniVersion": version}) == 1


@pytest.mark.parametrize("change", [{"ipMasq": True}, {"ipam": {"type": "host-local", "subnet": "10.9.0.0/24"}}])
def test_what_is_not_supported_is_code_2(change):
    assert code("ADD", change) == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"CNI_CONTAINERID": ""},
        {"CNI_CONTAINERID": "../one"},
        {"CNI_IFNAME": "a name"},
        {"CNI_IFNAME": "sixteen-letters-"},
        {"CNI_IFNAME": ".."},
        {"CNI_NETNS": "/no/such/file"},
        {"CNI_NETNS": "/proc/self/ns/net"},
        {"CNI_NETNS": ""},
    ],
)
def test_a_wrong_environment_is_code_4(environment):
    assert code("ADD", **environment) == 4


def test_a_namespace_path_cannot_carry_commands_to_ip(tmp_path):
    path = tmp_path / "x\nlink delete lo"
    path.write_text("")
    assert code("ADD", CNI_NETNS=str(path)) == 4


def test_an_unknown_command_is_code_4():
    assert code("REMOVE") == code("") == 4


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "../x"},
        {"bridge": "a b"},
        {"bridge": 7},
        {"mtu": 5},
        {"mtu": True},
        {"ipam": {}},
        {"ipam": []},
        {"ipam": {"subnet": "fd00::/64"}},
        {"ipam": {"subnet": "10.9.0.0/31"}},
        {"ipam": {"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.9", "rangeEnd": "10.9.0.3"}},
        {"ipam": {"subnet": "10.9.0.0/24", "gateway": "10.8.0.1"}},
        {"ipam": {"subnet": "10.9.0.0/24", "routes": [{"dst": "nowhere"}]}},
        {"ipam": {"subnet": "10.9.0.0/24", "dataDir": "here"}},
        {"prevResult": []},
        {"prevResult": {"ips": "none"}},
        {"prevResult": {"ips": ["none"]}},
        {"cni.dev/valid-attachments": [1]},
    ],
)
def test_a_wrong_configuration_is_code_7(change):
    assert code("ADD", change) == code("STATUS", change) == 7


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_code_6(text):
    with pytest.raises(request.CniError) as caught:
        request.decode(text)
    assert caught.value.code == 6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("cniVersion", "name", "bridge", "mtu", "ipam", "dns", "prevResult", "cni.dev/valid-attachments", "ipMasq")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KEYS), json_values, st.sampled_from(["subnet", "rangeStart", "gateway", "routes", "dataDir"]))
def test_whatever_stands_in_a_field_there_is_a_configuration_or_a_coded_error(key, value, inner):
    for document in (GOOD | {key: value}, GOOD | {"ipam": {"subnet": "10.9.0.0/24", inner: value}}):
        try:
            request.configuration(document)
        except request.CniError as error:
            assert error.code in (1, 2, 7)


def test_a_damaged_file_of_addresses_is_code_5(machine):
    machine.call("ADD", "one")
    (machine.folder / "pods" / "addresses.json").write_text("{")
    assert machine.call("ADD", "two")["code"] == 5
    assert machine.call("STATUS")["code"] == 50


def test_status_without_the_right_says_which_one_is_missing():
    if os.geteuid() != 0:
        pytest.skip("needs root, to do without it")
    command = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "env", "PYTHONSAFEPATH=1"]
    python = ["python3", "-c", "from k8sext.infra.cni import bridge; print(bridge._may_administer_networks())"]
    folder = str(request.__file__).partition("/k8sext/infra")[0]
    done = subprocess.run([*command, f"PYTHONPATH={folder}", *python], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() in ("False", ""), done.stderr


def test_the_command_prints_its_error_as_json(machine):
    error = machine.call("ADD", network=b"nonsense")
    assert (error["code"], error["cniVersion"]) == (6, "1.1.0")
    assert json.dumps(error)
