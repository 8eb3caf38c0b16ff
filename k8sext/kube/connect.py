"""Open a client: from a kubeconfig that is named, or from inside a pod when that is asked for.

Nothing is guessed. A program that falls back from one way to the other ends up, sooner or later, on a cluster nobody
meant: Binder itself runs in Kubernetes, and the current context of a laptop may be production.
"""

# kubernetes.aio is typed in part only
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from k8sext.kube.credentials import watch_over
from k8sext.kube.objects import Json

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the cluster's certificate authority and its namespace."""


class ConnectError(Exception):
    """The client could not be made; the message says what is missing and where it was looked for."""


async def from_kubeconfig(path: Path | str, context: str | None = None, *, connections: int = 100) -> ApiClient:
    """A client for one context of a kubeconfig (for its current context, if none is named).

    `path` is a file, or several as $KUBECONFIG lists them: then, as for kubectl, the first that says something counts,
    and those that are not there are passed over.

    At most so many `connections` are open at once, a watch holding one of them; requests beyond wait for their turn.
    Raises ConnectError when the file or the context is missing or makes no sense. Close the client with `await
    client.close()`.
    """
    from kubernetes.aio import config
    from kubernetes.aio.client import ApiClient, Configuration

    files = [file for file in map(Path, filter(None, str(path).split(os.pathsep))) if file.is_file()]
    if not files:
        raise ConnectError(f"there is no kubeconfig at {path}")
    configuration = Configuration()
    configuration.connection_pool_maxsize = connections
    try:
        # of several files the loader would take the last one's
        context = context or (_current_context(files) if len(files) > 1 else None)
        loader = await config.load_kube_config(
            config_file=str(path), context=context, client_configuration=configuration, persist_config=False
        )
        watch_over(configuration, loader)
        _look_for_a_proxy_once(configuration)
        return ApiClient(configuration)
    except Exception as error:  # the loader raises whatever its parsers raise
        raise ConnectError(f"the kubeconfig {path} cannot be used: {error}") from error


def _current_context(files: list[Path]) -> str | None:
    import yaml

    contents: list[Json] = [yaml.safe_load(file.read_text()) or {} for file in files]
    return next((name for content in contents if (name := content.get("current-context"))), None)


async def in_cluster() -> ApiClient:
    """A client for a program that runs in a pod, with the pod's service account. The token is read again once a minute.

    The service account's folder is the usual one, or K8SEXT_SERVICEACCOUNT_DIR where the runtime could not mount it
    there. Raises ConnectError outside a pod.
    """
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.config import ConfigException
    from kubernetes.aio.config.incluster_config import InClusterConfigLoader

    folder = service_account_dir()
    configuration = Configuration()
    try:
        InClusterConfigLoader(str(folder / "token"), str(folder / "ca.crt")).load_and_set(configuration)
    except ConfigException as error:
        raise ConnectError(
            f"this program does not run in a pod with a service account ({error} Looked in {folder}); name a "
            "kubeconfig instead"
        ) from error
    _look_for_a_proxy_once(configuration)
    return ApiClient(configuration)


def _look_for_a_proxy_once(configuration: Configuration) -> None:
    """Take a proxy from the kubeconfig, else from the environment, as kubectl does.

    aiohttp would look anew before every request, and into ~/.netrc, in a thread each time: a third of what a busy
    controller does.
    """
    server = urlsplit(configuration.host)
    if not configuration.proxy and not proxy_bypass(server.hostname or ""):
        configuration.proxy = getproxies().get(server.scheme)
    configuration.client_session_kwargs = {"trust_env": False}


def service_account_dir() -> Path:
    """The folder that holds `token`, `ca.crt` and `namespace` of this pod."""
    return Path(os.environ.get("K8SEXT_SERVICEACCOUNT_DIR") or SERVICE_ACCOUNT_DIR)


def leave_out_synchronous_half() -> None:
    """Let `import kubernetes.aio` load no more than it says. Call it before anything imports `kubernetes`; then it
    saves 7 MB and 0.2 s.

    The package `kubernetes` imports its synchronous client, with all that needs, when any part of it is imported. A
    long-running process that only uses `kubernetes.aio` can do without: the package is put in place here, but what it
    imports is not run.
    """
    spec = importlib.util.find_spec("kubernetes")
    if spec and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = importlib.util.module_from_spec(spec)
