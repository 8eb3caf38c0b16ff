"""Run by every kernel of `k8sext lab`, through PYTHONSTARTUP: who has not run the first cell yet is told to.

What stood in PYTHONSTARTUP before runs first.
"""


def _start() -> None:
    import os
    import runpy

    from IPython.core.getipython import get_ipython

    from k8sext.notebook.unconnected import prepare

    if (shell := get_ipython()) is None:
        return
    if own := os.environ.get("K8SEXT_PYTHONSTARTUP"):
        try:
            shell.user_ns.update({k: v for k, v in runpy.run_path(own).items() if not k.startswith("__")})
        except Exception as error:
            print(f"{own}: {error!r}")
    prepare(shell)


_start()
del _start
