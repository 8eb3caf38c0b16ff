"""What stands behind the notebooks: `%load_ext k8sext` (extension), our `!` (shell, processes), and things to look at.

Nothing here hides a command: the learner types kubectl. The helpers draw and tabulate what the commands brought back.
"""

from __future__ import annotations

from k8sext.notebook.ports import free_port
from k8sext.notebook.table import Table

__all__ = ["Table", "free_port"]
