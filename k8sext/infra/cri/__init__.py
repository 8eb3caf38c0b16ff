"""A container runtime (CRI v1) with two handlers: containers as ordinary processes, and isolated ones.

A kubelet asks a runtime over gRPC to run pods; this is such a runtime, small enough to be read in one sitting. Read
in this order: `service` (the methods), `lifecycle` (what they do), `handlers` (what a RuntimeClass chooses, with a
table of terms), `shim` (who holds the containers), `streaming` (exec, attach, port-forward), `server` and `__main__`
(one process, many nodes).

The runtime handler `process` needs no privilege: a container is a process with its own folder, environment, log and,
through bubblewrap or PRoot, its own mounts. It isolates nothing else, and says so:

- Honoured: command, args, environment, working folder, stdin, terminal, stop signal and grace period, log files and
  their rotation, mounts; `runAsUser`, `runAsGroup`, `fsGroup`, supplemental groups and `capabilities.drop` as root, or
  where they ask for what is so already (`runAsUser: 0` without root is the node's owner); `capabilities.add` of what
  the server itself holds; `allowPrivilegeEscalation: false`; DNS settings by bubblewrap or PRoot; memory and CPU limits
  where a cgroup is delegated. By bubblewrap alone: read-only mounts, `readOnlyRootFilesystem`, masked paths, the pod's
  hostname (elsewhere it is in $HOSTNAME).
- True anyway, as all share the machine: `hostNetwork`, `hostPID`, `hostIPC`, `hostPort`, `shareProcessNamespace`.
  Accepted without effect: the default seccomp and AppArmor profiles (this runtime's default is none).
- Refused with a sentence: privileged, another user without root, capabilities we do not hold, seccomp and AppArmor
  profiles, SELinux labels where there is SELinux, sysctls, user namespaces, devices, image volumes, mount propagation,
  images other than the built-in one, and with neither bubblewrap nor PRoot all mounts but the service account (found
  through K8SEXT_SERVICEACCOUNT_DIR and KUBECONFIG) and the kubelet's own files.
- Left out (UNIMPLEMENTED): checkpoints, pod statistics, metrics, streamed lists.

Programs of a pod that serve bind to $K8SEXT_BIND_ADDRESS, not to 0.0.0.0: the pod shows 10.244.n.m, and the cluster's
relay leads there from the API server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def stop_all(root_dir: Path, socket_dir: Path) -> None:
    """Kill the containers and supervisors of all nodes below `root_dir`, also when their server is long dead.

    Stop the server first, it would replace a supervisor that dies. The sockets in `socket_dir` are removed.
    """
    from k8sext.infra.cri import cleanup

    cleanup.stop_all(root_dir, socket_dir)
