"""`python -m tools.protocols`: generate the Python modules of CRI, CSI and plugin registration anew from their `.proto`
files.

The compiler is called with a file's place in the package, so that the generated modules import each other by their full
names and the message types of several protocols can live in one process.
"""

from __future__ import annotations

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
PROTOS = tuple(sorted((ROOT / "k8sext/infra").glob("*/proto/*.proto")))


def generate(into: Path) -> None:
    """Write `k8sext/infra/*/proto/*_pb2*` below the folder `into`. Raises RuntimeError when the compiler refuses."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    for proto in PROTOS:
        arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", *outputs, str(proto.relative_to(ROOT))]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"the protocol compiler refused {proto}: correct the file as its message says")


if __name__ == "__main__":
    generate(ROOT)
