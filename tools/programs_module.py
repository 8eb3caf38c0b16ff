"""`make programs-mod`: write gomod/go.mod and gomod/go.sum for the versions in k8sext/versions.py. For maintainers;
needs Go and its proxy.

k8s.io/kubernetes replaces each of its parts (k8s.io/api and so on, the "staging" modules) by a folder; we replace it by
the module published from that folder, which has the same number with v0 for v1.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from k8sext.cluster.programs.build import HERE
from k8sext.versions import ETCD, GO_MINIMUM, KUBERNETES

TOOLS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet")


def main() -> None:
    """Write both files anew."""
    folder = HERE / "gomod"
    for name in ("go.mod", "go.sum"):
        (folder / name).unlink(missing_ok=True)
    (folder / "go.mod").write_text(_go_mod(_staging_modules()))
    packages = ["go.etcd.io/etcd/server/v3", *[f"k8s.io/kubernetes/cmd/{tool}" for tool in TOOLS]]
    for architecture in ("amd64", "arm64"):
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOOS": "linux", "GOARCH": architecture, "CGO_ENABLED": "0"}
        subprocess.run(
            ["go", "list", "-deps", *packages], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
        )


def _staging_modules() -> list[str]:
    """The modules that Kubernetes' own go.mod replaces by folders."""
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"]
    module = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return re.findall(r"^\s+(k8s\.io/\S+) => \./staging", Path(module["GoMod"]).read_text(), re.MULTILINE)


def _go_mod(staging: list[str]) -> str:
    tools = "".join(f"\tk8s.io/kubernetes/cmd/{tool}\n" for tool in TOOLS)
    replace = "".join(f"\t{module} => {module} {KUBERNETES.replace('v1.', 'v0.')}\n" for module in staging)
    minimum = "{}.{}".format(*GO_MINIMUM)
    return (
        f"module k8sext/programs\n\ngo {minimum}.0\n\ngodebug default=go{minimum}\n\n"
        f"tool (\n\tgo.etcd.io/etcd/server/v3\n{tools})\n\n"
        f"require (\n\tgo.etcd.io/etcd/server/v3 {ETCD}\n\tk8s.io/kubernetes {KUBERNETES}\n)\n\nreplace (\n{replace})\n"
    )


if __name__ == "__main__":
    main()
