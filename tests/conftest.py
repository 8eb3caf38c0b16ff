"""What all tests share: one embedded cluster for the session, in a state folder of its own, gone at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from k8sext import cluster as clusters
from k8sext.cluster.programs.progress import LineProgress
from tests.support.eventually import eventually
from tests.support.skips import check_skips


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="more rounds of the fault tests")
    parser.addoption(
        "--cluster", metavar="FOLDER", help="a cluster that is up, by its folder, in place of a fresh embedded one"
    )
    parser.addoption(
        "--check-skips", action="store_true", help="fail on a skip that is not in tests/support/skips.toml"
    )
    parser.addoption("--require-browser", action="store_true", help="fail, instead of skip, where no Chromium is found")


def pytest_xdist_auto_num_workers() -> int:
    """How many run side by side under `-n auto`: each has a cluster of its own, which wants 2 GiB; and as tests wait a
    good deal of their time, one more than there are processors."""
    return max(1, min(len(os.sched_getaffinity(0)) + 1, available_memory() // 2**31))


def available_memory() -> int:
    """What this machine, or the control group around us, can still give, in bytes."""
    meminfo = Path("/proc/meminfo").read_text()
    free = int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return free if text == "max" else min(free, int(text))


def pytest_configure(config: pytest.Config) -> None:
    """The examples of hypothesis are the same in every run, and new ones with --long: a landing must not hang on luck.

    SIGTERM is taken as Ctrl-C, so that clusters and folders of fixtures go, too. And Ctrl-C is heard also where a
    script started us in its background, which a shell makes deaf to it, and all that we start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    check_skips(config)
    settings.register_profile("same", derandomize=True)
    if not config.getoption("--long"):
        settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a test starts, it is never the learner's cluster."""
    os.environ["K8SEXT_STATE"] = str(tmp_path_factory.mktemp("state"))
    for name in ("K8SEXT_CLUSTER", "K8SEXT_DATA", "K8SEXT_PROVIDER", "KUBECONFIG"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def programs(_own_state: None) -> dict[str, Path]:
    """The programs of Kubernetes, fetched if they are not here."""
    from k8sext.cluster import programs

    return programs.find(progress=LineProgress())


@pytest.fixture(scope="session")
def cluster(programs: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[clusters.Cluster]:
    """The embedded cluster that tests share. Tests use namespaces of their own in it, and never stop it."""
    if folder := request.config.getoption("--cluster"):
        yield clusters.connect(data=folder)
        return
    with clusters.up("tests", progress=LineProgress()) as found:
        yield found


def until_served(cluster: clusters.Cluster, resource: str) -> None:
    """Wait until the API server serves a resource, as apis/GROUP/VERSION/PLURAL, and its list of kinds names it: each a
    little later than its CRD says, when one of that name was deleted just before."""
    _, group, _, plural = resource.split("/")

    def look() -> bool:
        cluster.kubectl("get", "--raw", f"/{resource}")
        named = cluster.kubectl("api-resources", "--cached=false", f"--api-group={group}", "--output=name")
        return f"{plural}.{group}" in named.split()

    eventually(look, not_yet=clusters.ClusterError)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., object]:
    """`tests.support.eventually.eventually`, for tests that ask for it by name."""
    return eventually
