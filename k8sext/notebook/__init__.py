"""What stands behind the notebooks: `%load_ext k8sext` (extension), our `!` (shell, processes), and things to look at.

| Jupyter | here |
|---|---|
| IPython extension, `!` and `%%sh` | `extension`, `shell.Shell` |
| rich display (MIME bundle), alt text | `display.Table`, `display.Picture` |
| widget | `view` |
| cell tags: what a cluster must have | `needs` |
| exercises: check, hint, solution | `exercises.desk`, `exercises.exercise` |

Nothing here hides a command: the learner types kubectl. The helpers draw and tabulate what the commands brought back.
"""

from __future__ import annotations

from k8sext.cluster.ports import free_port
from k8sext.notebook.display import Table

__all__ = ["FIRST_CELL", "Table", "free_port"]

FIRST_CELL = "run this notebook's first cell, %load_ext k8sext"
"""What to do about a kernel that is not connected, or no more."""
