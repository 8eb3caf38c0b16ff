"""k8sext: working examples of every way to extend Kubernetes, and a real cluster to run them on.

Each room (sub-package) holds one topic and can be read at one sitting; the notebooks walk through them in order.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def load_ipython_extension(ipython: Any) -> None:
    """Answer `%load_ext k8sext`: connect the notebook to its cluster (see k8sext.notebook)."""
    from k8sext.notebook.extension import load

    load(ipython)
