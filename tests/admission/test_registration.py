"""Webhooks registered at a real API server: when they are asked, and what their answers lead to."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k8sext.admission import AdmissionRequest, AdmissionWebhook, Denied, mutating, serve, validating
from k8sext.admission.registration import RegistrationError
from k8sext.cluster import ClusterError
from k8sext.kube.blocking import BlockingClient
from k8sext.kube.objects import Json
from k8sext.kube.request import Unreachable
from tests.admission.conftest import Lesson

pytestmark = pytest.mark.cluster
REPORTS = "weatherreports.k8s.packt.com"


def watcher(lesson: Lesson, *resources: str, **options: object) -> tuple[AdmissionWebhook, list[AdmissionRequest]]:
    """A validating webhook that only writes down what it is asked, in this lesson's namespace."""
    seen: list[AdmissionRequest] = []

    @validating(*resources, namespaces=[lesson.namespace], **options)  # type: ignore[arg-type]
    def watch(_object: Json, request: AdmissionRequest) -> None:
        seen.append(request)

    return watch, seen


def test_a_validating_function_decides_and_its_warning_reaches_the_client(lesson: Lesson) -> None:
    @validating(REPORTS, namespaces=[lesson.namespace])
    def only_paris(report: Json, request: AdmissionRequest) -> None:
        if report["spec"]["city"] != "Paris":
            raise Denied("Paris or nothing")
        request.warn("it \x1b[31mmay\x00\x7f rain")

    with serve(only_paris):
        assert "Warning: it [31mmay rain" in lesson.create("Paris")
        with pytest.raises(
            ClusterError, match=r'webhook "only-paris.k8s.packt.com" denied the request: Paris or nothing'
        ):
            lesson.create("Rome")
    lesson.create("Rome")


def test_a_mutating_function_changes_what_is_stored(lesson: Lesson) -> None:
    @mutating(REPORTS, namespaces=[lesson.namespace])
    def shout(report: Json, _request: AdmissionRequest) -> None:
        report["spec"]["city"] = report["spec"]["city"].upper()

    with serve(shout):
        lesson.create("Paris", name="loud")
    assert lesson.kubectl("get", "wr", "loud", "-o", "jsonpath={.spec.city}") == "PARIS"


def test_create_update_and_delete_are_admitted_and_reads_never_are(lesson: Lesson) -> None:
    watch, seen = watcher(lesson, REPORTS, on=["*"])
    with serve(watch):
        lesson.create(name="one")
        lesson.kubectl("get", "wr", "one")
        lesson.kubectl("get", "wr")
        lesson.kubectl("patch", "wr", "one", "--type=merge", '-p={"spec":{"days":2}}')
        lesson.kubectl("delete", "wr", "one")
    assert [request.operation for request in seen] == ["CREATE", "UPDATE", "DELETE"]
    created, updated, deleted = seen
    assert (created.old_object, deleted.object) == (None, None)
    assert updated.old_object and (updated.old_object["spec"]["days"], updated.subject["spec"]["days"]) == (1, 2)
    assert deleted.subject["spec"]["days"] == 2
    assert created.user == "kubernetes-admin" and "system:masters" in created.groups


def test_connect_is_admitted_with_the_options_as_the_object(lesson: Lesson) -> None:
    @validating("pods/exec", on=["CONNECT"], namespaces=[lesson.namespace])
    def no_shell(options: Json, request: AdmissionRequest) -> None:
        raise Denied(f"no {options['command'][0]} in {request.name}")

    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "quiet"},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "x"}]},
    }
    lesson.kubectl("create", "-f", "-", input=json.dumps(pod))
    path = f"/api/v1/namespaces/{lesson.namespace}/pods/quiet/exec?command=sh&stdout=true"
    with serve(no_shell), pytest.raises(ClusterError, match="no sh in quiet"):
        lesson.kubectl("create", "--raw", path, "-f", "-", input="")


def test_a_subresource_is_asked_about_only_where_it_is_named(lesson: Lesson) -> None:
    watch, seen = watcher(lesson, f"{REPORTS}/status", on=["UPDATE"])
    with serve(watch):
        lesson.create(name="one")
        lesson.kubectl("patch", "wr", "one", "--subresource=status", "--type=merge", '-p={"status":{"state":"Ready"}}')
    assert [(request.resource, request.subresource) for request in seen] == [("weatherreports", "status")]


def test_a_dry_run_is_admitted_and_says_so(lesson: Lesson) -> None:
    watch, seen = watcher(lesson, REPORTS, side_effects="NoneOnDryRun")
    with serve(watch):
        lesson.create("Paris", 1, "one", "--dry-run=server")
        lesson.create("Paris", 1, "one")
    assert [request.dry_run for request in seen] == [True, False]


def test_deleting_a_collection_asks_about_each_object_in_it(lesson: Lesson) -> None:
    @validating(REPORTS, on=["DELETE"], namespaces=[lesson.namespace])
    def keep(report: Json, _request: AdmissionRequest) -> None:
        if report.get("metadata", {}).get("labels", {}).get("keep"):
            raise Denied("this one stays")

    lesson.create(name="gone")
    lesson.create(name="kept", labels={"keep": "yes"})
    path = f"/apis/k8s.packt.com/v1/namespaces/{lesson.namespace}/weatherreports"
    with serve(keep), pytest.raises(ClusterError, match="this one stays"):
        lesson.kubectl("delete", "--raw", path)
    assert "kept" in lesson.kubectl("get", "wr", "-o", "name")


def test_labels_and_match_conditions_narrow_down_what_is_asked(lesson: Lesson) -> None:
    by_label, labelled = watcher(lesson, REPORTS, name="by-label", object_labels={"check": "yes"})
    by_condition, matching = watcher(
        lesson, REPORTS, name="by-condition", match_conditions={"long": "object.spec.days > 5"}
    )
    with serve(by_label, by_condition):
        lesson.create(days=1, name="a")
        lesson.create(days=9, name="b")
        lesson.create(days=1, name="c", labels={"check": "yes"})
    assert [request.name for request in labelled] == ["c"]
    assert [request.name for request in matching] == ["b"]


def test_the_namespaces_of_the_cluster_itself_are_never_asked_about(lesson: Lesson) -> None:
    @validating("configmaps", on=["CREATE"])
    def nothing_anywhere(_object: Json, request: AdmissionRequest) -> None:
        if request.name == "trial":
            raise Denied("nothing")

    with serve(nothing_anywhere):
        lesson.kubectl("create", "configmap", "trial", "-n", "kube-system", "--dry-run=server")
        with pytest.raises(ClusterError, match="nothing"):
            lesson.kubectl("create", "configmap", "trial", "--dry-run=server")


def test_a_later_change_brings_an_idempotent_function_back_which_then_does_nothing(lesson: Lesson) -> None:
    asked: list[str] = []

    @mutating(REPORTS, namespaces=[lesson.namespace], name="a-label-city", reinvocation="IfNeeded")
    def label_city(report: Json, _request: AdmissionRequest) -> None:
        asked.append(report["spec"]["city"])
        report["metadata"].setdefault("labels", {})["city"] = report["spec"]["city"]

    @mutating(REPORTS, namespaces=[lesson.namespace], name="b-move")
    def move(report: Json, _request: AdmissionRequest) -> None:
        report["spec"]["city"] = "Rome"

    with serve(label_city, move):
        lesson.create("Paris", name="one")
    assert asked == ["Paris", "Rome"]
    assert lesson.kubectl("get", "wr", "one", "-o", "jsonpath={.metadata.labels.city}") == "Rome"


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("down", "connection refused"),
        ("slow", "context deadline exceeded"),
        ("crash", "crashed; its log tells more under call"),
        ("wrong", "crashed; its log tells more"),
        ("expired", "certificate has expired"),
    ],
)
def test_without_an_answer_the_failure_policy_decides(lesson: Lesson, policy: str, trouble: str, message: str) -> None:
    @validating(REPORTS, namespaces=[lesson.namespace], failure_policy=policy, timeout=1)  # type: ignore[arg-type]
    async def troubled(_report: Json, _request: AdmissionRequest) -> None:
        if trouble == "slow":
            await asyncio.sleep(30)
        if trouble == "crash":
            raise RuntimeError("on purpose")
        if trouble == "wrong":
            return False  # type: ignore[return-value]

    with serve(troubled) as serving:
        if trouble == "down":
            serving.go_down()
        if trouble == "expired":
            serving.rotate(datetime.timedelta(minutes=-10))
            serving.restart()
        if policy == "Fail":
            with pytest.raises(ClusterError, match=message):
                lesson.create()
        else:
            lesson.create()


@pytest.mark.parametrize("make", [validating, mutating])
def test_a_function_that_hangs_is_no_longer_waited_for_and_does_not_keep_its_webhook_registered(
    lesson: Lesson, make: Callable[..., Callable[..., AdmissionWebhook]]
) -> None:
    released = threading.Event()

    @make(REPORTS, namespaces=[lesson.namespace], timeout=1)
    def hangs(_report: Json, _request: AdmissionRequest) -> None:
        released.wait(90)

    watch, seen = watcher(lesson, REPORTS, on=["DELETE"])
    with serve(hangs, watch) as serving:
        with pytest.raises(ClusterError, match="context deadline exceeded"):
            lesson.create()
        began = time.monotonic()
    assert time.monotonic() - began < 10
    lesson.create(name="one")
    assert not released.is_set() and not seen
    assert [(call.webhook, call.outcome) for call in serving.calls] == [("hangs", "timed out")]
    released.set()


def test_a_function_that_holds_up_the_loop_of_the_server_does_not_keep_its_webhook_registered(lesson: Lesson) -> None:
    released = threading.Event()

    @validating(REPORTS, namespaces=[lesson.namespace], timeout=1)
    async def hangs(_report: Json, _request: AdmissionRequest) -> None:
        released.wait(90)

    with serve(hangs):
        with pytest.raises(ClusterError, match="context deadline exceeded"):
            lesson.create()
        began = time.monotonic()
    assert time.monotonic() - began < 20 and not released.is_set()
    lesson.create()
    released.set()


@pytest.mark.parametrize("second", ["stop", "serve"])
def test_what_could_not_be_unregistered_is_by_a_second_stop_or_the_next_serve(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, second: str
) -> None:
    def unreachable(*_: object, **__: object) -> Json:
        raise Unreachable("the API server is down")

    left, _ = watcher(lesson, REPORTS, name="left")
    other, _ = watcher(lesson, REPORTS, name="other")
    serving = serve(left)
    with monkeypatch.context() as broken:
        broken.setattr(BlockingClient, "request", unreachable)
        serving.stop()
    assert "could not be unregistered: the API server is down" in caplog.text
    assert "left.k8s.packt.com" in lesson.registered()
    if second == "stop":
        serving.stop()
        assert "left.k8s.packt.com" not in lesson.registered()
    with serve(other):
        assert "left.k8s.packt.com" not in lesson.registered()
    serving.stop()


def test_a_list_of_18000_entries_of_which_a_function_removes_every_second_one_is_changed_in_time(
    lesson: Lesson,
) -> None:
    @mutating("configmaps", on=["CREATE"], namespaces=[lesson.namespace])
    def halve(config_map: Json, _request: AdmissionRequest) -> None:
        owners = config_map["metadata"]["ownerReferences"]
        config_map["metadata"]["ownerReferences"] = owners[::2]

    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
    owners = [owner | {"uid": f"u-{number}"} for number in range(18_000)]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "long", "ownerReferences": owners}}
    with serve(halve):
        lesson.kubectl("create", "-f", "-", input=json.dumps(body))
    stored = json.loads(lesson.kubectl("get", "configmap", "long", "-o", "json"))
    assert len(stored["metadata"]["ownerReferences"]) == 9_000


def test_a_rotated_certificate_is_trusted_without_a_new_registration(lesson: Lesson) -> None:
    watch, seen = watcher(lesson, REPORTS)
    with serve(watch) as serving:
        lesson.create()
        serving.rotate()
        serving.restart()
        lesson.create()
    assert len(seen) == 2


def test_the_same_cell_run_twice_replaces_what_it_registered(lesson: Lesson) -> None:
    first, seen_first = watcher(lesson, REPORTS)
    second, seen_second = watcher(lesson, REPORTS)
    earlier = serve(first)
    with serve(second):
        earlier.stop()
        lesson.create()
    assert (len(seen_first), len(seen_second)) == (0, 1)


SCRIPT = """
import sys
from k8sext.admission import Denied, serve, validating

@validating("weatherreports.k8s.packt.com", namespaces=[sys.argv[1]])
def closed(report, request):
    raise Denied("closed")

serve(closed)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_process(lesson: Lesson) -> Callable[[], subprocess.Popen[str]]:
    """Starts another kernel that serves the webhook `closed`."""

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, lesson.namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "KUBECONFIG": str(lesson.cluster.kubeconfig)},
        )
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    return start


def test_what_a_killed_kernel_left_behind_is_removed_by_the_next_start(
    lesson: Lesson, other_process: Callable[[], subprocess.Popen[str]]
) -> None:
    process = other_process()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "closed.k8s.packt.com" in lesson.registered()
    with pytest.raises(ClusterError, match="connection refused"):
        lesson.create()
    watch, seen = watcher(lesson, REPORTS)
    with serve(watch):
        assert "closed.k8s.packt.com" not in lesson.registered()
        lesson.create()
    assert len(seen) == 1


def test_a_process_that_ends_in_order_leaves_nothing_and_one_that_lives_is_not_pushed_aside(
    lesson: Lesson, other_process: Callable[[], subprocess.Popen[str]]
) -> None:
    process = other_process()

    @validating(REPORTS, namespaces=[lesson.namespace])
    def closed(_report: Json, _request: AdmissionRequest) -> None:
        pass

    with pytest.raises(RegistrationError, match=r"is registered already by .* stop that one first"):
        serve(closed)
    assert "closed.k8s.packt.com" in lesson.registered()
    process.communicate("\n", timeout=20)
    assert "closed.k8s.packt.com" not in lesson.registered()


ENDING = """
import sys, threading
from k8sext.admission import mutating, serve, validating

@mutating("weatherreports.k8s.packt.com", namespaces=[sys.argv[1]], timeout=1)
def hangs(report, request):
    threading.Event().wait(60)

@validating("weatherreports.k8s.packt.com", namespaces=[sys.argv[1]])
def looks(report, request):
    pass

serving = serve(hangs, looks)
print("ready", flush=True)
match sys.stdin.readline().strip():
    case "sys.exit":
        sys.exit(3)
    case "error":
        raise LookupError
"""


@pytest.mark.parametrize(
    ("way", "code"),
    [("return", 0), ("sys.exit", 3), ("error", 1), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)],
)
def test_the_end_of_the_interpreter_leaves_no_webhook_registered_even_while_a_function_hangs(
    lesson: Lesson, way: str | signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING, lesson.namespace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    assert {"hangs.k8s.packt.com", "looks.k8s.packt.com"} <= set(lesson.registered())
    with pytest.raises(ClusterError, match="context deadline exceeded"):
        lesson.create()
    if isinstance(way, signal.Signals):
        process.send_signal(way)
        process.wait(20)
    process.communicate(None if process.poll() else f"{way}\n", timeout=20)
    assert process.returncode == code
    assert not {"hangs.k8s.packt.com", "looks.k8s.packt.com"} & set(lesson.registered())
    lesson.create()


def test_what_the_api_server_refuses_is_said_and_nothing_stays_registered(lesson: Lesson) -> None:
    good, _ = watcher(lesson, REPORTS, name="good")
    bad, _ = watcher(lesson, REPORTS, name="bad", match_conditions={"broken": "object.spec.days >"})
    with pytest.raises(RegistrationError, match=r"refuses the webhook bad.k8s.packt.com"):
        serve(good, bad)
    assert not [name for name in lesson.registered() if name.startswith(("good", "bad"))]


def test_without_an_api_server_a_sentence_says_what_to_name(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG")
    watch, _ = watcher(lesson, REPORTS)
    with pytest.raises(RegistrationError, match="name its kubeconfig"):
        serve(watch)


def test_two_hundred_creations_at_once_are_all_admitted(lesson: Lesson) -> None:
    from k8sext.kube.connect import from_kubeconfig
    from k8sext.kube.request import request
    from tests.admission.reviews import report

    watch, seen = watcher(lesson, REPORTS, timeout=5)

    async def create_all() -> None:
        client = await from_kubeconfig(lesson.cluster.kubeconfig)
        path = f"/apis/k8s.packt.com/v1/namespaces/{lesson.namespace}/weatherreports"
        try:
            bodies = [report(name=f"r-{n}", namespace=lesson.namespace) for n in range(200)]
            await asyncio.gather(*[request(client, "POST", path, body) for body in bodies])
        finally:
            await client.close()

    with serve(watch):
        asyncio.run(create_all())
    assert len({request.name for request in seen}) == 200
