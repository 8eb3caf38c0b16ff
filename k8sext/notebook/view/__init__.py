"""`view()`: the cluster as it is now, in a cell, moving as things change.

`model` says what of an object is worth showing, `words` and `drawing` show it (as text and as SVG), `details` tells all
about one object, `follow` watches the API server from a thread of its own, and `live` puts the parts together as
widgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8sext.notebook.view.live import View


def view(namespace: str | None = None, kinds: Sequence[str] = ()) -> View:
    """Show nodes, pods, waiting pods and recent events, and keep them up to date until the kernel ends or `close()` is
    called.

    `namespace` is the one shown first (None: all of them). `kinds` are resources to show as well, each named as kubectl
    prints it: ("weatherreports.k8s.packt.com",). One that does not exist yet is shown as soon as it does.
    Raises ViewError when the cluster does not answer.
    """
    from k8sext.notebook.view.live import View

    return View(namespace, (kinds,) if isinstance(kinds, str) else tuple(kinds))
