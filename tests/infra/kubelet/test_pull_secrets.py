"""imagePullSecrets: whose they are, and how a kubelet tries them."""

from __future__ import annotations

import base64
import json

import pytest

from k8sext.infra.kubelet.runtime.pull_secrets import credentials_for
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container, pod
from tests.infra.kubelet.stage import Stage

MISSING = container("main", image="missing.example/team/one:1")


def secret(*places: str, kind: str = "kubernetes.io/dockerconfigjson") -> Json:
    """A Secret with a user for each registry, who is called like it, with the password of its length."""
    auths = {
        place: {"auth": base64.b64encode(f"{place.replace(':', '+')}:{len(place)}".encode()).decode()}
        for place in places
    }
    content = {"auths": auths} if kind.endswith("json") else auths
    return packed(json.dumps(content), kind)


def packed(text: str, kind: str = "kubernetes.io/dockerconfigjson") -> Json:
    return {"type": kind, "data": {f".{kind.rpartition('/')[2]}": base64.b64encode(text.encode()).decode()}}


@pytest.mark.parametrize(
    ("image", "places", "expected"),
    [
        ("registry.example/a:1", ["registry.example"], ["registry.example"]),
        ("registry.example/a:1", ["other.example"], []),
        ("registry.example:5000/a", ["registry.example"], []),
        ("registry.example:5000/a", ["registry.example:5000"], ["registry.example+5000"]),
        ("registry.example/team/a", ["registry.example/team", "registry.example/other"], ["registry.example/team"]),
        ("r.example/t/a", ["r.example", "r.example/t"], ["r.example/t", "r.example"]),
        ("eu.registry.example/a", ["*.registry.example"], ["*.registry.example"]),
        ("a.eu.registry.example/a", ["*.registry.example"], []),
        ("r.example/a", ["https://r.example/v1/", "http://r.example/v2/"], None),
        ("busybox", ["https://index.docker.io/v1/"], ["https+//index.docker.io/v1/"]),
        ("library/busybox:1", ["index.docker.io"], ["index.docker.io"]),
        ("docker.io/library/busybox", ["index.docker.io"], ["index.docker.io"]),
        ("registry.example/busybox", ["index.docker.io"], []),
        ("localhost/busybox", ["index.docker.io"], ["index.docker.io"]),
    ],
)
def test_credentials_belong_to_registries(image: str, places: list[str], expected: list[str] | None) -> None:
    for kind in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        found = [user.username for user in credentials_for(image, [secret(*places, kind=kind)])]
        assert len(found) == 2 if expected is None else found == expected


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"type": "Opaque", "data": {"password": "eA=="}},
        packed("no JSON"),
        packed("[]"),
        packed('{"auths": {"r.example": {"auth": "%%%"}}}'),
        packed('{"auths": {"r.example": null}}'),
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "%"}},
    ],
)
def test_a_secret_that_makes_no_sense_holds_nothing(broken: Json) -> None:
    assert credentials_for("r.example/a", [broken]) == []
    assert len(credentials_for("r.example/a", [broken, secret("r.example")])) == 1


async def test_each_user_is_tried_until_one_is_let_in(stage: Stage) -> None:
    stage.api.objects["/api/v1/namespaces/shop/secrets/first"] = secret("missing.example")
    stage.api.objects["/api/v1/namespaces/shop/secrets/second"] = secret("missing.example/team")
    stage.runtime.password = str(len("missing.example"))
    stage.play(pod(MISSING, imagePullSecrets=[{"name": "first"}, {"name": "second"}]))
    await stage.until(lambda: stage.runtime.running() == ["main"])
    assert stage.runtime.pulled_as == [("missing.example/team", "20"), ("missing.example", "15")]


async def test_a_secret_that_is_not_there_is_named_when_the_pull_fails(stage: Stage) -> None:
    stage.play(pod(MISSING, imagePullSecrets=[{"name": "none"}]))
    await stage.until(lambda: "FailedToRetrieveImagePullSecret" in [reason for reason, _ in stage.api.events])
    assert stage.runtime.pulled_as[0] == ("", "")
    said = next(message for reason, message in stage.api.events if reason == "FailedToRetrieveImagePullSecret")
    assert said == ("Unable to retrieve some image pull secrets (none); attempting to pull the image may not succeed.")
