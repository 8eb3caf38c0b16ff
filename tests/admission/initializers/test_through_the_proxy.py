"""kubectl through the proxy behaves as kubectl 1.9 did; each user has their own rights; a watch tells the truth under
load."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from k8sext.admission import Denied
from k8sext.admission.initializers import RunningProxy, initializer, start_proxy
from k8sext.admission.initializers.model import PENDING, UNINITIALIZED, read
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import request
from tests.admission.initializers.conftest import World, deployment
from tests.admission.initializers.test_on_the_server import A, settings, writes

OBJECTS = 500


class Users:
    """Two users of one namespace, who come through one proxy."""

    def __init__(self, world: World, proxy: RunningProxy) -> None:
        self.world, self.proxy = world, proxy
        self.files: dict[str, Path] = {}
        self.tokens: dict[str, str] = {}

    def add(self, name: str, *roles: str) -> None:
        """A service account with these cluster roles in the namespace."""
        world = self.world
        world.kubectl("create", "serviceaccount", name)
        for role in roles:
            account = f"--serviceaccount={world.namespace}:{name}"
            world.kubectl("create", "rolebinding", f"{name}-{role}", f"--clusterrole={role}", account)
        self.tokens[name] = world.kubectl("create", "token", name).strip()
        self.files[name] = self.proxy.kubeconfig(self.tokens[name])

    def kubectl(self, user: str, *arguments: str, input: Json | None = None) -> tuple[bool, str]:
        """Run kubectl through the proxy; whether it succeeded, and all it printed."""
        kubectl = str(self.world.cluster.programs["kubectl"])
        done = subprocess.run(
            [kubectl, f"--kubeconfig={self.files[user]}", f"--namespace={self.world.namespace}", *arguments],
            input=json.dumps(input) if input else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode == 0, done.stdout


@pytest.fixture
def patience() -> float:
    """For how many seconds a creation waits."""
    return 30


@pytest.fixture
def users(world: World, patience: float) -> Iterator[Users]:
    """anna, who may edit, and otto, who may view."""
    with start_proxy(world.kubeconfig, longest_wait=patience) as proxy:
        found = Users(world, proxy)
        found.add("anna", "edit")
        found.add("otto", "view")
        yield found


def test_nobody_sees_what_is_not_initialized_unless_they_ask(world: World, users: Users):
    world.configure(writes(A))
    world.create(settings())
    world.create(settings("free", annotations={PENDING: ""}))
    _, listed = users.kubectl("anna", "get", "configmaps", "-o", "name")
    assert "configmap/free\n" in listed
    assert "configmap/settings" not in listed
    path = f"/api/v1/namespaces/{world.namespace}/configmaps?includeUninitialized=true"
    _, raw = users.kubectl("anna", "get", "--raw", path)
    assert {"free", "settings"} <= {item["metadata"]["name"] for item in json.loads(raw)["items"]}
    _, table = users.kubectl("anna", "get", "configmaps", "-l", "!other")
    assert "free" in table
    assert "settings" not in table
    assert users.kubectl("anna", "get", "configmap/settings", "-o", "name") == (True, "configmap/settings\n")


def test_a_creation_waits_for_its_initializers(world: World, users: Users):
    world.configure(writes(A))
    world.start(writes(A))
    done, printed = users.kubectl("anna", "create", "-o", "json", "-f", "-", input=settings())
    assert done
    assert json.loads(printed)["data"] == {"by": "a"}
    assert read(json.loads(printed)) is None


def test_server_side_apply_waits_when_it_creates(world: World, users: Users):
    world.configure(writes(A))
    world.start(writes(A))
    arguments = ("apply", "--server-side", "-o", "json", "-f", "-")
    _, printed = users.kubectl("anna", *arguments, input=settings())
    assert json.loads(printed)["data"] == {"by": "a"}


@pytest.mark.parametrize("patience", [2])
def test_without_its_initializer_a_creation_hangs_until_its_time_is_over(world: World, users: Users):
    world.configure(writes(A))
    done, printed = users.kubectl("anna", "create", "-f", "-", input=settings())
    assert not done
    assert "Timeout: request did not complete within allowed duration" in printed
    assert read(world.get("configmap/settings")) is not None


def test_the_client_learns_why_initialization_failed(world: World, users: Users, eventually):
    @initializer(A, "configmaps")
    def never(_item: Json, _client: object) -> None:
        raise Denied("not on a Monday")

    world.configure(never)
    world.start(never)
    done, printed = users.kubectl("anna", "create", "-f", "-", input=settings())
    assert not done
    assert "(Forbidden)" in printed
    assert "not on a Monday" in printed
    eventually(lambda: "settings" not in world.names("configmaps"))


def test_each_request_has_exactly_its_own_users_rights(world: World, users: Users):
    assert users.kubectl("anna", "create", "-f", "-", input=settings())[0]
    done, printed = users.kubectl("otto", "create", "-f", "-", input=settings("other"))
    assert not done
    assert f'"system:serviceaccount:{world.namespace}:otto" cannot create resource "configmaps"' in printed
    assert users.kubectl("otto", "get", "configmap/settings")[0]
    for user in ("anna", "otto"):
        _, whoami = users.kubectl(user, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        assert whoami == f"system:serviceaccount:{world.namespace}:{user}"
        assert "forbidden" in users.kubectl(user, "get", "nodes")[1].lower()
        assert "cannot impersonate" in users.kubectl(user, "get", "pods", "--as=system:admin")[1]


def test_many_requests_of_two_users_over_the_same_proxy_never_mix(world: World, users: Users):
    async def names() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {"anna": set(), "otto": set()}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        async with _session(users.proxy) as session:

            async def ask(user: str) -> None:
                headers = {"Authorization": f"Bearer {users.tokens[user]}"}
                path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
                async with session.post(users.proxy.address + path, json=review, headers=headers) as answer:
                    found[user].add((await answer.json())["status"]["userInfo"]["username"])

            await asyncio.gather(*[ask(user) for user in ("anna", "otto") * 50])
        return found

    prefix = f"system:serviceaccount:{world.namespace}:"
    assert asyncio.run(names()) == {"anna": {f"{prefix}anna"}, "otto": {f"{prefix}otto"}}


def test_an_administrators_client_certificate_ends_at_the_proxy(world: World, users: Users, tmp_path: Path):
    content = json.loads(users.proxy.kubeconfig().read_text())
    content["users"][0]["user"] = yaml.safe_load(world.kubeconfig.read_text())["users"][0]["user"]
    assert "client-certificate-data" in content["users"][0]["user"]
    users.files["administrator"] = tmp_path / "kubeconfig"
    users.files["administrator"].write_text(json.dumps(content))
    done, printed = users.kubectl("administrator", "get", "pods")
    assert not done
    assert "passes on bearer tokens only, not client certificates" in printed


def test_exec_is_refused_with_a_reason(world: World, users: Users, eventually):
    world.create(deployment())
    eventually(lambda: world.get("deployment/web")["status"].get("readyReplicas"))
    (pod,) = world.names("pods")
    done, printed = users.kubectl("anna", "exec", pod, "--", "id")
    assert not done
    assert "does not pass on exec, attach and port-forward" in printed


@pytest.mark.slow
def test_a_watch_through_the_proxy_says_what_a_direct_one_implies(world: World, users: Users):
    """Objects are created, initialized, changed and deleted under load; nothing is lost, doubled or out of order."""
    world.configure(writes(A))
    controller = world.start(writes(A))
    hidden, direct = asyncio.run(_watch_both(world, users))
    assert controller.running
    assert len(direct) > 2 * OBJECTS
    assert hidden == _as_seen_when_initialized(direct)
    assert sum(kind == "ADDED" for kind, _, _ in hidden) == OBJECTS


def _session(proxy: RunningProxy) -> aiohttp.ClientSession:
    cluster = json.loads(proxy.kubeconfig().read_text())["clusters"][0]["cluster"]
    trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=trust)))


Seen = list[tuple[str, str, str]]
"""What happened, to which object, and its version after that."""


async def _watch_both(world: World, users: Users) -> tuple[Seen, Seen]:
    client = await from_kubeconfig(world.kubeconfig)
    maps = f"/api/v1/namespaces/{world.namespace}/configmaps"
    listed = await request(client, "GET", maps)
    query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "120"}
    headers = {"Authorization": f"Bearer {users.tokens['anna']}"}
    direct_address = client.configuration.host + maps
    trust = ssl.create_default_context(cafile=client.configuration.ssl_ca_cert)
    async with (
        _session(users.proxy) as through,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as straight,
    ):
        watching = [
            asyncio.create_task(_events(through, users.proxy.address + maps, headers, query)),
            asyncio.create_task(_events(straight, direct_address, headers, query)),
        ]
        limit = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            """A creation through the proxy is answered on release, so here is an object that is initialized."""
            name = f"load-{number:03}"
            async with limit:
                address = users.proxy.address + maps
                async with through.post(address, json=settings(name), headers=headers) as answer:
                    assert answer.status == 201
                    item = await answer.json()
                if number % 2:
                    item["data"]["by"] = "changed"
                    await request(client, "PUT", f"{maps}/{name}", item)
                if number % 3 == 0:
                    await request(client, "DELETE", f"{maps}/{name}")

        await asyncio.gather(*[one(number) for number in range(OBJECTS)])
        last = settings("the-end", annotations={PENDING: ""})
        await request(client, "POST", maps, last)
        found = await asyncio.wait_for(asyncio.gather(*watching), 90)
    await client.close()
    return found[0], found[1]


async def _events(session: aiohttp.ClientSession, url: str, headers: dict[str, str], query: dict[str, str]) -> Seen:
    """Every event until the one about the last object; what an object looked like goes into its name, for the judge."""
    seen: Seen = []
    async with session.get(url, params=query, headers=headers) as answer:
        assert answer.status == 200
        while line := await answer.content.readline():
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            if metadata["name"] == "the-end":
                return seen
            mark = "?" if UNINITIALIZED in metadata.get("labels", {}) else ""
            seen.append((event["type"], metadata["name"] + mark, metadata["resourceVersion"]))
    raise AssertionError("the watch ended early")


def _as_seen_when_initialized(direct: Seen) -> Seen:
    """What 1.9 would have shown of these events: an object is ADDED on release, and before that there is none."""
    shown: set[str] = set()
    found: Seen = []
    for kind, name, version in direct:
        if name.endswith("?"):
            continue
        found.append(("ADDED" if kind == "MODIFIED" and name not in shown else kind, name, version))
        shown.add(name)
    return found
