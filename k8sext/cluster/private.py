"""A throwaway etcd and kube-apiserver of one's own, for lessons that need API-server flags.

Nobody's shared cluster is ever restarted for a lesson: this one is up in about three seconds and gone with its `with`
block.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from k8sext import files
from k8sext.cluster import components, process
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.kubectl import run
from k8sext.cluster.ports import choose

START_LIMIT = 60.0


@dataclass(frozen=True)
class PrivateApiServer:
    """A running private API server. folder holds its files, kubeconfig makes an administrator of whoever uses it."""

    folder: Path
    server: str
    kubeconfig: Path
    programs: Mapping[str, Path]

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for another user, to see what they may do."""
        from k8sext.kube import certificates as x509

        ca = x509.Pair.load(self.folder / "pki", "ca")
        file = self.folder / f"{user.replace('/', '_')}.kubeconfig"
        files.replace(file, x509.kubeconfig(user, self.server, ca, x509.issue(ca, user, groups)), mode=0o600)
        return file

    def kubectl(self, *arguments: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """What kubectl prints here. Raises ClusterError with kubectl's own message when it fails."""
        environment = {"KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        return run(self.programs["kubectl"], *arguments, environment=environment, input=input)

    def log(self) -> str:
        """The API server's log so far."""
        return (self.folder / "kube-apiserver.log").read_text(errors="replace")


@contextlib.contextmanager
def private_api_server(
    flags: Sequence[str] = (), config_files: Mapping[str, str] | None = None
) -> Iterator[PrivateApiServer]:
    """Start a private control plane (etcd and kube-apiserver only), and stop and remove it at the end of the block.

    flags are added to the API server's command line, config_files (file name to text) stand in its folder; {folder} in
    either becomes that folder's path, as in "--admission-control-config-file={folder}/admission.yaml". Raises
    ClusterError, with the API server's own last words, when it does not start.
    """
    from k8sext.cluster import programs
    from k8sext.cluster.programs.progress import for_terminal

    if isinstance(flags, str):
        raise ClusterError(f"flags is a list of flags, not one text: write [{flags!r}].")
    found = programs.find(("etcd", "kube-apiserver", "kubectl"), for_terminal())
    with contextlib.ExitStack() as end:
        atexit.register(end.close)  # a notebook's kernel may end in the middle of the block
        end.callback(atexit.unregister, end.close)
        folder = Path(tempfile.mkdtemp(prefix="k8sext-private-"))
        end.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = choose(("kube-apiserver", "etcd", "etcd-peer"), {})
        server = f"https://127.0.0.1:{ports['kube-apiserver']}"
        kubeconfig = _certificates(folder, server)
        for name, text in (config_files or {}).items():
            if Path(name).name != name or name in ("pki", "etcd", "kubeconfig", "..") or name.endswith(".log"):
                raise ClusterError(
                    f"{name!r} is no file name of your own: files stand in the server's folder, beside its pki, etcd "
                    "and kubeconfig."
                )
            (folder / name).write_text(text.replace("{folder}", str(folder)))
        pki = folder / "pki"
        for component in (
            components.etcd(str(found["etcd"]), folder / "etcd", pki, ports["etcd"], ports["etcd-peer"]),
            components.api_server(
                str(found["kube-apiserver"]),
                pki,
                ports["kube-apiserver"],
                ports["etcd"],
                [flag.replace("{folder}", str(folder)) for flag in flags],
            ),
        ):
            log = folder / f"{component.name}.log"
            child = process.start(component, log)
            end.callback(process.kill_group, child)  # nothing of it is kept, so nothing needs to end in good order
            _wait(component, child, pki, log)
        yield PrivateApiServer(folder, server, kubeconfig, found)


def _certificates(folder: Path, server: str) -> Path:
    from k8sext.kube import certificates as x509

    pki = folder / "pki"
    pki.mkdir(mode=0o700)
    ca = x509.authority("k8sext-private")
    ca.save(pki, "ca")
    local = ("127.0.0.1", "localhost")
    for name in ("apiserver", "etcd", "front-proxy-client"):
        x509.issue(ca, name, hosts=local).save(pki, name)
    x509.issue(ca, "kube-apiserver-kubelet-client", ["system:masters"]).save(pki, "apiserver-kubelet-client")
    private, public = x509.service_account_keys()
    files.replace(pki / "service-accounts.key", private, mode=0o600)
    files.replace(pki / "service-accounts.pub", public, mode=0o600)
    admin = x509.issue(ca, "kubernetes-admin", ["system:masters"])
    admin.save(pki, "admin")
    kubeconfig = folder / "kubeconfig"
    files.replace(kubeconfig, x509.kubeconfig("private", server, ca, admin), mode=0o600)
    return kubeconfig


def _wait(component: components.Component, child: subprocess.Popen[bytes], pki: Path, log: Path) -> None:
    """Wait until a component is well. Its own loop runs in a thread: a notebook has one running already."""
    from concurrent.futures import ThreadPoolExecutor

    async def well() -> None:
        context = process.tls_context(pki, "admin")
        deadline = time.monotonic() + START_LIMIT
        while (answer := await process.get(component.port or 0, component.health_path, context))[0] != 200:
            if child.poll() is not None:
                raise ClusterError(
                    process.full_disk(component.name, log, log.parent)
                    or f"{component.name} ended with code {child.returncode}:\n{process.last_words(log)}"
                )
            if time.monotonic() > deadline:
                raise ClusterError(f"{component.name} was not ready within {START_LIMIT:.0f} s: {answer[1][:200]}")
            await asyncio.sleep(0.03)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, well()).result()
