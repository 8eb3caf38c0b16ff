"""The three of the book, whole: a sidecar, a certificate for each pod, a limit. And initializers that are killed on the
way."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509 as x509_parser
from cryptography.x509.oid import NameOID

from k8sext.admission import serve
from k8sext.admission.initializers.examples.certificate import AUTHORITY, certificate, certificate_volume
from k8sext.admission.initializers.examples.limit import limit
from k8sext.admission.initializers.examples.sidecar import sidecar
from k8sext.admission.initializers.model import PENDING, UNINITIALIZED, Initializers, read
from k8sext.cluster import ClusterError
from k8sext.kube.objects import Json
from tests.admission.initializers.conftest import World, deployment

IMAGE = deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
KILLS = 4
READ = "import time; print(open('/certificate/tls.crt').read(), flush=True); time.sleep(1000)"


def test_a_sidecar_runs_beside_the_container(world: World, eventually):
    world.configure(sidecar)
    world.start(sidecar)
    world.create(deployment())
    eventually(lambda: world.get("deployment/web")["status"].get("readyReplicas"))
    (pod,) = world.get("pods")["items"]
    assert [container["name"] for container in pod["spec"]["containers"]] == ["web", "sidecar"]


def certified(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"certificate": "yes"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": IMAGE, "command": ["python", "-c", READ]}],
        },
    }


def test_each_pod_gets_a_certificate_of_its_own_that_goes_with_it(world: World, eventually):
    world.configure(certificate)
    world.start(certificate)
    with serve(certificate_volume, kubeconfig=world.kubeconfig):
        for name in ("one", "two"):
            world.create(certified(name))
    eventually(lambda: [pod["status"]["phase"] for pod in world.get("pods")["items"]] == ["Running", "Running"])
    secrets = {}
    for name in ("one", "two"):
        eventually(lambda name=name: "END CERTIFICATE" in world.kubectl("logs", name), not_yet=ClusterError)
        pod = world.get(f"pod/{name}")
        (secrets[name],) = [v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v]
        assert world.secret(secrets[name])["tls.crt"].strip() in world.kubectl("logs", name)
    for name, secret in secrets.items():
        found = x509_parser.load_pem_x509_certificate(world.secret(secret)["tls.crt"].encode())
        (subject,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert subject.value == f"{world.namespace}/{name}"
        found.verify_directly_issued_by(
            x509_parser.load_pem_x509_certificate(world.secret(AUTHORITY)["tls.crt"].encode())
        )
    world.kubectl("delete", "pod", "one")
    eventually(lambda: secrets["one"] not in world.names("secrets"))
    assert secrets["two"] in world.names("secrets")


def test_a_limit_holds_even_for_those_that_come_at_once(world: World, eventually):
    world.configure(limit)
    for number in range(4):
        world.create(deployment(f"web-{number}", replicas=2))
    world.start(limit)
    eventually(lambda: not world.get("deployments", "-l", UNINITIALIZED)["items"])
    assert len(world.names("deployments")) == 2


@pytest.mark.slow
def test_initializers_that_are_killed_again_and_again_initialize_everything_once(world: World, eventually):
    world.configure(sidecar, limit)
    world.create({"apiVersion": "v1", "kind": "List", "items": [deployment(f"web-{n}", replicas=0) for n in range(20)]})
    modules = itertools.cycle(("sidecar", "limit"))
    for _ in range(KILLS):
        process = _run(world, next(modules))
        before = len(world.get("deployments", "-l", UNINITIALIZED)["items"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before <= 20
    processes = [_run(world, next(modules)) for _ in range(3)]  # two of the first at once: they must not both count
    try:
        eventually(lambda: not world.get("deployments", "-l", UNINITIALIZED)["items"], within=180)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(20) for process in processes]
    assert codes == [0, 0, 0]
    found = world.get("deployments")["items"]
    assert len(found) == 20
    for item in found:
        containers = [container["name"] for container in item["spec"]["template"]["spec"]["containers"]]
        assert containers == ["web", "sidecar"]
        assert "paused" not in item["spec"]


def _run(world: World, example: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "k8sext.admission.initializers", "run"]
    command += [f"k8sext.admission.initializers.examples.{example}", f"--namespace={world.namespace}"]
    process = subprocess.Popen([*command, f"--kubeconfig={world.kubeconfig}"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "initializing " in line:
            break
    return process


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "k8sext.nothing"], "k8sext.nothing cannot be loaded"),
        (["run", "k8sext.admission.review"], "has no initializer: decorate a function"),
        (["run", "k8sext.admission.initializers.examples.sidecar"], "name a kubeconfig instead"),
        (
            ["run", "k8sext.admission.initializers.examples.sidecar", "--kubeconfig=/nowhere"],
            "there is no kubeconfig at",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], message: str):
    command = [sys.executable, "-m", "k8sext.admission.initializers", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_initializers_own_deployment_waits_for_itself_until_somebody_who_may_lets_it_go(
    world: World, eventually, manifests: Path
):
    for name in ("10-limit", "20-sidecar"):
        world.kubectl("apply", "-f", str(manifests / f"{name}.yaml"))
    world.start(limit)
    world.kubectl("apply", "-f", str(manifests / "sidecar-initializer.yaml"))
    eventually(lambda: read(world.get("deployment/sidecar-initializer")) == Initializers((sidecar.name,)))
    assert world.names("pods") == []
    world.kubectl("annotate", "deployment/sidecar-initializer", f"{PENDING}-")
    world.create(deployment())
    eventually(lambda: read(world.get("deployment/web")) is None, within=180)
    containers = world.get("deployment/web")["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["web", "sidecar"]


def test_an_empty_list_in_its_manifest_goes_around_the_deadlock(world: World, eventually, manifests: Path):
    world.configure(sidecar)
    text = (manifests / "sidecar-initializer.yaml").read_text().replace(f"# {PENDING}", PENDING)
    for _ in range(2):  # an empty list can be applied again and again
        world.kubectl("apply", "-f", "-", input=text)
    eventually(lambda: world.get("deployment/sidecar-initializer")["status"].get("readyReplicas"))


def test_the_manifests_use_the_image_of_this_version(manifests: Path):
    for file in manifests.glob("*.yaml"):
        for line in file.read_text().splitlines():
            assert "image:" not in line or line.endswith(IMAGE)
