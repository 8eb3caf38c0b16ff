"""`python -m tests.conformance`: ask every judge that can be had here, and write what they say into README.md here."""

from __future__ import annotations

import sys

from k8sext.cluster.errors import ClusterError
from tests.conformance import cni_tool, critest, csi_sanity

failed = 0
for judge in (critest, cni_tool, csi_sanity):
    try:
        judge.main()
    except ClusterError as reason:
        print(f"{judge.__name__.rpartition('.')[2]}: its table stays as it is: {reason}\n", file=sys.stderr)
        failed = 1
sys.exit(failed)
