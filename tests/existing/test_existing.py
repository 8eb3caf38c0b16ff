"""A cluster that is there already: taken by name, with consent and a lock, and left as it was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k8sext import cluster as clusters
from k8sext.cluster import doctor
from k8sext.cluster.paths import layout, write_json
from k8sext.cluster.providers import existing
from k8sext.cluster.providers.existing import account, callback, inventory, lock, preflight
from k8sext.cluster.providers.existing.target import OWNER, Target
from k8sext.notebook import needs
from tests.existing.conftest import Up, k8sext, made_by_notebooks
from tests.existing.snapshot import difference, settled, snapshot

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
NOTEBOOKS = [path.stem[:2] for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))]
WITH_WEBHOOKS = ["08", "09", "15"]
LEFT = """
{apiVersion: v1, kind: Namespace, metadata: {name: operators}}
---
apiVersion: k8s.packt.com/v1
kind: WeatherReport
metadata: {name: held, namespace: operators, finalizers: [example.com/nobody]}
spec: {city: Oslo, days: 1}
---
apiVersion: k8s.packt.com/v1
kind: WeatherReport
metadata: {name: held, namespace: default, finalizers: [example.com/nobody]}
spec: {city: Oslo, days: 1}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: urgent}, value: 1000}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: default}}
"""


def target(cluster: clusters.Cluster, tmp_path: Path) -> Target:
    return Target(cluster.programs["kubectl"], str(cluster.kubeconfig), cluster.name, tmp_path / "kubectl-cache")


def refusal(borrow: Up, folder: Path, **options: Any) -> str:
    """The sentence with which `up` refuses; nothing of the try stays in the folder."""
    with pytest.raises(clusters.ClusterError) as error:
        borrow(folder=folder, **options)
    assert not folder.exists()
    return str(error.value)


def test_the_current_context_is_never_taken_by_accident(borrow: Up, tmp_path: Path) -> None:
    assert "one of host." in refusal(borrow, tmp_path / "c", context=None)
    assert "has no context 'prod': choose one of host" in refusal(borrow, tmp_path / "c", context="prod")
    assert "names no cluster" in refusal(borrow, tmp_path / "c", kubeconfig=tmp_path / "none")


def test_without_consent_nothing_is_made(host: clusters.Cluster, borrow: Up, tmp_path: Path) -> None:
    before, plans = settled(host), []
    assert "nobody agreed" in refusal(borrow, tmp_path / "c", consent=lambda plan: bool(plans.append(plan)))
    assert "Namespace: k8sext, start-here" in plans[0] and "StorageClass: k8sext" in plans[0]
    data, config = str(tmp_path / "c"), str(host.kubeconfig)
    where = ("--data", data, "--provider", "existing", "--context", "host", "--kubeconfig", config)
    asked = k8sext("up", *where)
    assert asked.returncode == 1 and "nobody agreed" in asked.stderr and "The notebooks will work" in asked.stdout
    assert difference(before, snapshot(host)) == []


def test_what_is_not_ours_and_bears_a_name_of_ours_is_in_the_way(
    host: clusters.Cluster, borrow: Up, tmp_path: Path
) -> None:
    foreign = {
        "ClusterRole k8sext-csi": ("create", "clusterrole", "k8sext-csi", "--verb=get", "--resource=pods"),
        "Namespace summary": ("create", "namespace", "summary"),
        "Pod nginx in the namespace default": ("run", "nginx", "--image=nginx"),
        "CustomResourceDefinition weatherreports": ("apply", f"--filename={ROOT / 'manifests/resources/crd.yaml'}"),
        "MutatingAdmissionPolicy pod-defaults": (
            "apply",
            f"--filename={ROOT / 'manifests/admission/mutating-policy.yaml'}",
        ),
    }
    made = [host.kubectl(*command, "--output=json") for command in foreign.values()]
    try:
        sentence = refusal(borrow, tmp_path / "c")
        assert all(said in sentence for said in foreign) and "nothing was changed" in sentence
    finally:
        for entry in made:
            host.kubectl("delete", "--filename=-", "--ignore-not-found", "--force", input=entry)


def test_the_plan_says_which_notebooks_miss_their_nodes(
    host: clusters.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = preflight.plan(target(host, tmp_path), preflight.Server("", ""), "anna")
    assert "leave them out" not in plan
    monkeypatch.setattr(inventory, "NODES", ("node-1", "node-2"))
    plan = preflight.plan(target(host, tmp_path), preflight.Server("", ""), "anna")
    assert "Notebooks 10, 11 and 14 work with nodes by name, and node-1 and node-2 are not here" in plan


def test_who_is_no_administrator_is_refused(host: clusters.Cluster, borrow: Up, tmp_path: Path) -> None:
    token = host.kubectl("create", "token", "default", "--namespace=theirs").strip()
    poor = tmp_path / "poor"
    poor.write_text(host.kubeconfig.read_text())
    host.kubectl("config", "--kubeconfig", str(poor), "set-credentials", "poor", f"--token={token}")
    host.kubectl("config", "--kubeconfig", str(poor), "set-context", "poor", "--cluster=host", "--user=poor")
    assert "one of an administrator" in refusal(borrow, tmp_path / "c", context="poor", kubeconfig=poor)


def test_a_server_without_the_policies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"version": json.dumps({"serverVersion": {"gitVersion": "v1.33.4"}}), "get": '{"resources": []}'}
    monkeypatch.setattr(Target, "run", lambda self, verb, *rest, **options: answers[verb])
    with pytest.raises(clusters.ClusterError, match=r"from v1.36 on, and this server is v1.33.4"):
        preflight.check(Target(tmp_path, "", "old", tmp_path), "anna")


def test_all_that_the_account_makes_carries_the_label(host: clusters.Cluster, borrowed: clusters.Cluster) -> None:
    assert borrowed.provider == "existing" and borrowed.server == host.server
    assert account.USER in borrowed.kubectl("auth", "whoami")
    crd = str(ROOT / "manifests/resources/crd.yaml")
    for what in (("create", "namespace", "x"), ("run", "x", "--image=x"), ("apply", f"--filename={crd}")):
        made = json.loads(borrowed.kubectl(*what, "--dry-run=server", "--output=json"))
        assert OWNER in made["metadata"]["labels"]
        theirs = json.loads(host.kubectl(*what, "--dry-run=server", "--output=json"))
        assert OWNER not in theirs["metadata"].get("labels", {})


def test_consent_is_asked_once(borrow: Up, borrowed: clusters.Cluster) -> None:
    again = borrow(folder=borrowed.layout.data, consent=None)
    assert not again.started_here
    with pytest.raises(clusters.ClusterError, match="is the cluster of the context host, not another"):
        borrow(folder=borrowed.layout.data, context="another")


def test_one_learner_at_a_time(
    host: clusters.Cluster, borrow: Up, borrowed: clusters.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "owner_name", lambda layout: "anna.laptop")
    sentence = refusal(borrow, tmp_path / "c", name="second")
    assert f"{lock.holder(target(host, tmp_path))} works" in sentence


def test_a_lock_that_ran_out_may_be_taken_and_its_first_holder_hears_so(
    host: clusters.Cluster, borrow: Up, borrowed: clusters.Cluster, tmp_path: Path
) -> None:
    here, mine = target(host, tmp_path), borrowed.layout.read_config()["owner"]
    long_ago = (datetime.now(UTC) - lock.DURATION - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    patch = json.dumps({"spec": {"renewTime": long_ago}})
    host.kubectl("patch", "lease", lock.LEASE, f"--namespace={inventory.HOME}", "--type=merge", f"--patch={patch}")
    assert lock.holder(here) is None
    lock.take(here, "anna.laptop")
    try:
        with pytest.raises(clusters.ClusterError, match=r"anna\.laptop works with the notebooks"):
            borrow(folder=borrowed.layout.data)
    finally:
        host.kubectl("delete", "lease", lock.LEASE, f"--namespace={inventory.HOME}")
        lock.take(here, mine)


def test_another_image_takes_the_place_of_the_workbooks(
    host: clusters.Cluster, borrowed: clusters.Cluster, eventually: Callable[..., None]
) -> None:
    policy, binding = account.objects("anna", "registry.example/k8sext:1")[-2:]
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    containers = [{"name": "a", "image": account.IMAGE}, {"name": "b", "image": "other"}]
    spec = {"containers": containers, "initContainers": [{"name": "c", "image": account.IMAGE}]}
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec})
    host.kubectl("apply", "--filename=-", input=both)

    def swapped() -> bool:
        made = json.loads(borrowed.kubectl("create", "--filename=-", "--dry-run=server", "--output=json", input=pod))
        images = [entry["image"] for part in ("containers", "initContainers") for entry in made["spec"][part]]
        return images == ["registry.example/k8sext:1", "other", "registry.example/k8sext:1"]

    try:
        eventually(swapped)
    finally:
        host.kubectl("delete", "--filename=-", input=both)


def test_the_control_plane_on_this_machine_can_call_it(borrowed: clusters.Cluster) -> None:
    assert borrowed.callback_host == "127.0.0.1"


def test_an_address_that_is_not_this_machines_is_refused(
    host: clusters.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SEXT_CALLBACK_HOST", "203.0.113.7")
    with pytest.raises(
        clusters.ClusterError, match=r"K8SEXT_CALLBACK_HOST is 203\.0\.113\.7, where this machine cannot"
    ):
        callback.find(target(host, tmp_path), "anna")


def test_what_this_provider_cannot_do_it_says(borrowed: clusters.Cluster) -> None:
    data = ("--data", str(borrowed.layout.data))
    assert "has no logs" in k8sext("logs", "etcd", *data).stderr
    for ask in (clusters.add_node, clusters.stop_node, clusters.start_node, clusters.remove_node):
        with pytest.raises(clusters.ClusterError, match="can neither add nor stop nodes"):
            ask(borrowed.layout, "k8sext-worker")
    status = k8sext("status", *data)
    assert status.returncode == 0 and "kube-apiserver" in status.stdout and "k8sext-worker2" in status.stdout
    assert k8sext("kubeconfig", *data).stdout.strip() == str(borrowed.kubeconfig)


def test_down_leaves_the_cluster_as_it_was_also_in_the_middle_of_a_notebook(
    host: clusters.Cluster, borrow: Up, borrowed: clusters.Cluster
) -> None:
    borrowed.down()
    before = settled(host)
    with borrow(folder=borrowed.layout.data) as mine:
        for manifest in ("resources/crd.yaml", "scheduling/scheduler.yaml", "csi/driver.yaml", "runtime/oci.yaml"):
            mine.kubectl("apply", f"--filename={ROOT / 'manifests' / manifest}")
        for manifest in ("admission/validating-policy.yaml", "admission/webhooks.yaml", "scheduling/pod.yaml"):
            mine.kubectl("apply", f"--filename={ROOT / 'manifests' / manifest}")
        mine.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com", "--timeout=60s")
        mine.kubectl("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")
        mine.kubectl("apply", "--filename=-", input=LEFT)
        mine.kubectl("taint", "node", "k8sext-worker", "team=weather:NoSchedule")
        mine.kubectl("label", "node", "k8sext-worker", "team=weather")
        host.kubectl("create", "configmap", "later", "--namespace=theirs")
        assert len(difference(before, snapshot(host))) > 20
    assert not mine.layout.data.exists()
    host.kubectl("delete", "configmap", "later", "--namespace=theirs")
    assert difference(before, settled(host)) == []


def test_where_another_learner_took_over_down_removes_only_the_folder(
    host: clusters.Cluster, borrow: Up, tmp_path: Path
) -> None:
    mine = borrow()
    host.kubectl("delete", "lease", lock.LEASE, f"--namespace={inventory.HOME}")
    lock.take(target(host, tmp_path), "anna.laptop")
    mine.down()
    assert not mine.layout.data.exists()
    host.kubectl("get", "namespace", inventory.HOME)
    host.kubectl("delete", "lease", lock.LEASE, f"--namespace={inventory.HOME}")
    other = borrow()  # finds what carries the label, and takes it over
    host.kubectl("delete", "namespace", inventory.HOME)
    with pytest.raises(clusters.ClusterError, match="is gone, as after a `k8sext down`"):
        borrow(folder=other.layout.data)
    other.down()
    assert "k8sext-learner" not in host.kubectl("get", "clusterrolebindings", "--output=name")


def test_down_keeps_the_folder_as_long_as_the_cluster_does_not_answer(tmp_path: Path) -> None:
    config = {"provider": "existing", "server": "", "version": "", "ports": {}, "programs": {"kubectl": "/bin/false"}}
    more = {"files": "none", "context": "gone", "owner": "anna", "nodes_before": {}}
    (tmp_path / ".k8sext-cluster").touch()
    (tmp_path / "cluster.json").write_text(json.dumps({**config, **more}))
    done = k8sext("down", "--data", str(tmp_path))
    assert done.returncode == 1 and "The cluster of the context 'gone'" in done.stderr
    assert (tmp_path / "cluster.json").exists()


def test_cells_that_need_what_it_lacks_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = clusters.Cluster("c", "existing", layout("c", tmp_path), callback_host="")
    monkeypatch.setattr(clusters, "connect", lambda: there)
    assert "cannot call this machine" in needs.KNOWN["callback"]() and "added or stopped" in needs.KNOWN["nodes"]()
    monkeypatch.setattr(clusters, "connect", lambda: replace(there, provider="kind", callback_host="172.18.0.1"))
    assert needs.KNOWN["callback"]() == needs.KNOWN["nodes"]() == ""


def test_the_doctor_names_the_contexts(host: clusters.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(host.kubeconfig))
    monkeypatch.setenv("PATH", f"{host.programs['kubectl'].parent}{os.pathsep}{os.environ['PATH']}")
    assert "the contexts host, when" in doctor._contexts().sentence


def test_the_names_of_the_notebooks_are_known(host: clusters.Cluster) -> None:
    listed = host.kubectl("api-resources", "--namespaced=false", "--no-headers").splitlines()
    cluster_wide = {kind.lower(): kind for kind in (line.split()[-1] for line in listed)}
    made = {(cluster_wide[kind.lower()], name) for kind, name in made_by_notebooks() if kind.lower() in cluster_wide}
    known = {("Namespace", name) for name in inventory.NAMESPACES}
    known |= {(kind, name) for kind, names in inventory.CLUSTER_WIDE.items() for name in names}
    known |= {entry for entry in made if entry[0] in inventory.ADMISSION and inventory.is_admission_of_ours(entry[1])}
    on_a_server_of_its_own = {("Namespace", "library")}
    assert len(made) > 30 and made - known - on_a_server_of_its_own == set()


def run_notebooks(numbers: list[str], **variables: str) -> None:
    command = [sys.executable, "-m", "tests.notebooks", "--provider", "existing", *numbers]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_notebooks_run_on_it_and_leave_nothing(host: clusters.Cluster, request: pytest.FixtureRequest) -> None:
    before = settled(host)
    numbers = NOTEBOOKS if request.config.getoption("--long") else ["00", "04", "07"]
    run_notebooks(numbers, K8SEXT_CONTEXT="host", KUBECONFIG=str(host.kubeconfig))
    assert difference(before, settled(host)) == []


def test_notebooks_with_webhooks_run_where_the_control_plane_cannot_call_this_machine(
    host: clusters.Cluster, borrow: Up, request: pytest.FixtureRequest
) -> None:
    before = settled(host)
    numbers = WITH_WEBHOOKS if request.config.getoption("--long") else WITH_WEBHOOKS[-1:]
    with borrow("k8sext") as mine:
        write_json(mine.layout.config, {**mine.layout.read_config(), "callback_host": ""})
        run_notebooks(numbers, K8SEXT_DATA=str(mine.layout.data), K8SEXT_TEST_LAB="yes")
    assert difference(before, settled(host)) == []
