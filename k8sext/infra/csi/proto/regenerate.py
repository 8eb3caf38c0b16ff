"""Generate the Python modules of CSI v1 and of plugin registration anew: `python -m k8sext.infra.csi.proto.regenerate`.

The compiler is called with the files' place in the package, so that the generated modules import each other by their
full names and the message types of several protocols can live in one process.
"""

from __future__ import annotations

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

HERE = Path(__file__).parent
SOURCE_ROOT = HERE.parents[3]
PROTOS = (HERE / "csi.proto", HERE / "registration.proto")


def generate(into: Path) -> None:
    """Write `k8sext/infra/csi/proto/*_pb2*` below the folder `into`; raise RuntimeError when the compiler refuses."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    for proto in PROTOS:
        arguments = ["protoc", f"-I{SOURCE_ROOT}", f"-I{well_known}", *outputs, str(proto.relative_to(SOURCE_ROOT))]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"the protocol compiler refused {proto}: correct the file as its message says")


if __name__ == "__main__":
    generate(SOURCE_ROOT)
