"""What the runtime is asked for: the user of the image where the pod names none, groups, and what is kept from a
container."""

from __future__ import annotations

from typing import Any

import pytest

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.runtime.translate import container_config
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container, pod

ROOT = cri.Image(id="i", uid=cri.Int64Value(value=0))
NUMBER = cri.Image(id="i", uid=cri.Int64Value(value=1000))
NAME = cri.Image(id="i", username="web")


def security(of: Json, main: Json, image: cri.Image = ROOT) -> cri.LinuxContainerSecurityContext:
    nothing: Any = {"attempt": 0, "target": "", "env": {}, "command": [], "args": [], "mounts": []}
    return container_config(of, main, image=image, **nothing).linux.security_context


@pytest.mark.parametrize(
    ("of_pod", "own", "image", "user", "name", "group"),
    [
        ({}, {}, ROOT, 0, "", None),
        ({}, {}, NUMBER, 1000, "", None),
        ({}, {}, NAME, None, "web", None),
        ({"runAsGroup": 3000}, {}, NUMBER, 1000, "", 3000),
        ({}, {"runAsGroup": 3000}, NAME, None, "web", 3000),
        ({"runAsUser": 7}, {}, NAME, 7, "", None),
        ({"runAsUser": 7}, {"runAsUser": 0}, NUMBER, 0, "", None),
    ],
)
def test_the_user_is_the_images_where_the_pod_names_none(
    of_pod: Json, own: Json, image: cri.Image, user: int | None, name: str, group: int | None
) -> None:
    main = container("main", securityContext=own)
    found = security(pod(main, securityContext=of_pod), main, image)
    assert (found.run_as_user.value if found.HasField("run_as_user") else None) == user
    assert found.run_as_username == name
    assert (found.run_as_group.value if found.HasField("run_as_group") else None) == group


@pytest.mark.parametrize(("policy", "told"), [(None, cri.Merge), ("Merge", cri.Merge), ("Strict", cri.Strict)])
def test_the_policy_for_groups_is_passed_on(policy: str | None, told: int) -> None:
    main = container("main")
    context = {"supplementalGroups": [5], "fsGroup": 6, "supplementalGroupsPolicy": policy}
    found = security(pod(main, securityContext=context), main)
    assert (list(found.supplemental_groups), found.supplemental_groups_policy) == ([5, 6], told)


@pytest.mark.parametrize(
    ("own", "kept"), [({}, True), ({"procMount": "Default"}, True), ({"procMount": "Unmasked"}, False)]
)
def test_the_machines_own_settings_are_hidden_or_read_only(own: Json, kept: bool) -> None:
    main = container("main", securityContext=own)
    found = security(pod(main), main)
    assert ("/proc/sys" in found.readonly_paths, "/proc/kcore" in found.masked_paths) == (kept, kept)


def test_a_privileged_container_sees_all_of_them() -> None:
    main = container("main", securityContext={"privileged": True})
    found = security(pod(main), main)
    assert (list(found.readonly_paths), list(found.masked_paths)) == ([], [])
