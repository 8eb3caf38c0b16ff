"""On a real API server: stamped, held, initialized in order, released; refused to those who may not; removed after a
failure."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from k8sext.admission import Denied
from k8sext.admission.initializers import initializer, start, stop_all
from k8sext.admission.initializers.holds import GATE, HELD
from k8sext.admission.initializers.model import PENDING, RESULT, UNINITIALIZED, Initializers, read
from k8sext.cluster import ClusterError
from k8sext.kube.objects import Json
from tests.admission.initializers.conftest import World, deployment
from tests.admission.initializers.objects import FAILURE, configuration, rule

A, B = "a.tests.k8s.packt.com", "b.tests.k8s.packt.com"
POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "web", "image": "localhost/none:1"}]},
}


def settings(name: str = "settings", **metadata: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"by": ""}}


def writes(name: str, on: str = "configmaps"):
    @initializer(name, on)
    def function(item: Json, _client: object) -> None:
        item["data"]["by"] += name[0]

    return function


def test_all_configurations_are_sorted_by_name_and_stamped_in_order(world: World):
    world.configure(writes(A), name="late")
    world.configure(writes(B), name="early")
    world.create(settings())
    assert read(world.get("configmap/settings")) == Initializers((B, A))


def test_each_acts_in_its_turn_and_the_last_releases(world: World, eventually):
    world.configure(writes(A), writes(B))
    world.start(writes(B))
    world.create(settings())
    world.start(writes(A))
    eventually(lambda: read(world.get("configmap/settings")) is None)
    found = world.get("configmap/settings")
    assert found["data"] == {"by": "ab"}
    assert UNINITIALIZED not in found["metadata"].get("labels", {})
    assert PENDING not in found["metadata"].get("annotations", {})


def test_a_pod_is_gated_until_it_is_initialized(world: World, eventually):
    @initializer(A, "pods")
    def team(pod: Json, _client: object) -> None:
        pod["metadata"].setdefault("labels", {})["team"] = "weather"

    world.configure(team)
    world.create(POD)
    held = world.get("pod/web")
    assert held["spec"]["schedulingGates"] == [GATE]
    assert held["status"]["conditions"][0]["reason"] == "SchedulingGated"
    world.start(team)
    eventually(lambda: world.get("pod/web")["spec"].get("nodeName"))
    assert world.get("pod/web")["metadata"]["labels"]["team"] == "weather"


def test_a_deployment_makes_no_pods_until_it_is_initialized(world: World, eventually):
    @initializer(A, "deployments.apps")
    def env(item: Json, _client: object) -> None:
        item["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "TEAM", "value": "weather"}]

    world.configure(env)
    world.create(deployment())
    held = world.get("deployment/web")
    assert held["spec"]["paused"] is True
    eventually(lambda: world.get("deployment/web")["status"].get("observedGeneration"))
    assert world.names("replicasets") == []
    world.start(env)
    eventually(lambda: world.names("pods"))
    assert "paused" not in world.get("deployment/web")["spec"]
    assert HELD not in world.get("deployment/web")["metadata"]["annotations"]
    assert world.get("pods")["items"][0]["spec"]["containers"][0]["env"] == [{"name": "TEAM", "value": "weather"}]
    assert len(world.names("replicasets")) == 1


def test_an_administrator_goes_around_all_of_them_with_an_empty_list(world: World):
    world.configure(writes(A))
    world.create(settings(annotations={PENDING: ""}))
    assert read(world.get("configmap/settings")) is None


def test_who_may_not_initialize_can_create_but_neither_choose_nor_change(world: World):
    world.configure(writes(A))
    world.kubectl("create", "serviceaccount", "author")
    account = f"system:serviceaccount:{world.namespace}:author"
    world.kubectl("create", "rolebinding", "author", "--clusterrole=edit", f"--serviceaccount={world.namespace}:author")
    world.create(settings(), f"--as={account}")
    for name, forbidden in (("chosen", "c.tests.k8s.packt.com"), ("bypassing", "")):
        with pytest.raises(
            ClusterError, match=r"create with initializers denied: .*author may not \"initialize\" configmaps"
        ):
            world.create(settings(name, annotations={PENDING: forbidden}), f"--as={account}")
    with pytest.raises(ClusterError, match="update to uninitialized resource denied"):
        world.kubectl("label", "configmap/settings", "mine=1", f"--as={account}")
    world.kubectl("create", "role", "initialize", "--verb=initialize", "--resource=configmaps")
    world.kubectl(
        "create", "rolebinding", "initialize", "--role=initialize", f"--serviceaccount={world.namespace}:author"
    )
    world.kubectl("label", "configmap/settings", "mine=1", f"--as={account}")
    world.kubectl("annotate", "configmap/settings", f"{PENDING}-", f"--as={account}")
    assert read(world.get("configmap/settings")) is None
    world.kubectl("delete", "configmap/settings", f"--as={account}")


def test_everybody_may_delete_what_is_not_initialized(world: World):
    world.configure(writes(A))
    world.kubectl("create", "serviceaccount", "author")
    world.kubectl("create", "rolebinding", "author", "--clusterrole=edit", f"--serviceaccount={world.namespace}:author")
    world.create(settings(finalizers=["k8s.packt.com/test"]))
    author = f"--as=system:serviceaccount:{world.namespace}:author"
    world.kubectl("delete", "configmap/settings", "--wait=false", author)
    world.kubectl("patch", "configmap/settings", "--type=merge", '-p={"metadata":{"finalizers":null}}', author)
    assert "settings" not in world.names("configmaps")


def test_the_list_is_guarded(world: World):
    world.configure(writes(A))
    world.create(settings())
    world.create(settings("free", annotations={PENDING: ""}))
    for item, change, message in (
        ("settings", f"{PENDING}=short.name", "at least three segments"),
        ("settings", f"{RESULT}=oh no", "must hold a Status"),
        ("settings", f'{RESULT}={{"status": "Success"}}', "status must be 'Failure'"),
        ("free", f"{PENDING}={A}", "immutable once initialization has completed"),
    ):
        with pytest.raises(ClusterError, match=message):
            world.kubectl("annotate", "--overwrite", f"configmap/{item}", change)
    world.kubectl("annotate", "--overwrite", "configmap/free", f"{PENDING}=")
    assert PENDING not in world.get("configmap/free")["metadata"].get("annotations", {})


def test_the_label_follows_the_list_whoever_sets_it(world: World):
    world.configure(writes(A))
    world.create(settings())
    world.create(settings("free", annotations={PENDING: ""}))
    world.kubectl("label", "configmap/free", f"{UNINITIALIZED}=true")
    world.kubectl("label", "configmap/settings", f"{UNINITIALIZED}-")
    assert UNINITIALIZED not in world.get("configmap/free")["metadata"].get("labels", {})
    assert world.get("configmap/settings")["metadata"]["labels"][UNINITIALIZED] == "true"


def test_taking_the_gate_away_is_no_way_around(world: World):
    @initializer(A, "pods")
    def nothing(pod: Json, _client: object) -> None:
        pass

    world.configure(nothing)
    world.create(POD)
    with pytest.raises(
        ClusterError, match=r"spec\.schedulingGates: it holds the object until the last initializer is gone"
    ):
        world.kubectl("patch", "pod/web", "--type=json", '-p=[{"op": "remove", "path": "/spec/schedulingGates"}]')


def test_a_failed_object_is_removed_finalizers_or_not_and_an_event_says_why(world: World, eventually):
    @initializer(A, "configmaps")
    def never(_item: Json, _client: object) -> None:
        raise Denied("not on a Monday")

    world.configure(never)
    world.start(never)
    world.create(settings(finalizers=["k8s.packt.com/test"]))
    eventually(lambda: "settings" not in world.names("configmaps"))
    events = lambda: [event["message"] for event in world.get("events")["items"] if event["type"] == "Warning"]  # noqa: E731
    eventually(lambda: "not on a Monday" in events())


def test_a_result_by_hand_removes_the_object_too(world: World, eventually):
    world.configure(writes(A))
    world.create(settings())
    world.kubectl("annotate", "configmap/settings", f"{RESULT}={json.dumps(FAILURE)}")
    eventually(lambda: "settings" not in world.names("configmaps"))


def test_an_initializer_may_add_others_behind_itself(world: World, eventually):
    @initializer(A, "configmaps")
    def adds(item: Json, _client: object) -> None:
        item["metadata"]["annotations"][PENDING] += f",{B}"

    world.configure(adds)
    world.start(adds)
    world.create(settings())
    eventually(lambda: read(world.get("configmap/settings")) == Initializers((B,)))


def test_a_crash_leaves_the_object_where_it_is_and_is_tried_again(world: World, eventually):
    broken = threading.Event()

    @initializer(A, "configmaps")
    def sometimes(item: Json, _client: object) -> None:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("not today")
        item["data"]["by"] = "mended"

    world.configure(sometimes)
    world.start(sometimes)
    world.create(settings())
    eventually(lambda: read(world.get("configmap/settings")) is None)
    assert world.get("configmap/settings")["data"]["by"] == "mended"


def test_without_the_type_initializers_are_switched_off(world: World, manifests):
    world.kubectl("delete", "-f", str(manifests / "crd.yaml"))
    try:
        world.create(settings())
    finally:
        world.kubectl("apply", "-f", str(manifests / "crd.yaml"))
        world.kubectl("wait", "--for=condition=Established", "crd/initializerconfigurations.initializers.k8s.packt.com")
    assert read(world.get("configmap/settings")) is None


@pytest.mark.parametrize("name", ["two.segments", "Upper.case.name"])
def test_the_type_refuses_a_bad_name(world: World, name: str):
    with pytest.raises(ClusterError, match="a domain with at least three segments"):
        world.create(configuration("bad", (name, [rule(["pods"])])))


def test_the_containers_of_a_stored_pod_cannot_be_changed_any_more_not_even_by_its_initializer(
    world: World, eventually
):
    tried = threading.Event()

    @initializer(A, "pods")
    def late(pod: Json, _client: object) -> None:
        pod["spec"]["containers"].append({"name": "late", "image": "localhost/none:1"})
        tried.set()

    world.configure(late)
    world.create(POD)
    running = world.start(late)
    assert tried.wait(20)
    running.stop()
    assert read(world.get("pod/web")) == Initializers((A,))
    assert len(world.get("pod/web")["spec"]["containers"]) == 1


def test_stopping_all_takes_every_registration_away(world: World):
    start(writes(A), namespaces=[world.namespace], kubeconfig=world.kubeconfig)
    assert "initializers-guard" in world.kubectl("get", "validatingwebhookconfigurations", "-o", "name")
    stop_all()
    assert not world.kubectl("get", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "-o", "name")
    world.configure(writes(A))
    world.create(settings())
    assert read(world.get("configmap/settings")) is None
