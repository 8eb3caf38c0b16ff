"""Initializers, which Kubernetes had from 1.7 to 1.13, re-created on today's API server.

| Kubernetes 1.9 | here |
|---|---|
| InitializerConfiguration, pending list, result | `model.on_create`, `model.on_update`; annotations |
| what nobody sees does nothing | `holds.settle`: scheduling gates, paused, suspended, no replicas |
| admission plugin Initializers | `plugin.switch_on`: two webhooks; a failed object is removed |
| initializer controller | `controller.initializer`, `serving.start` |
| includeUninitialized, a POST that waits | `proxy.visible`, `waiting.until_initialized`; `serving.start_proxy` |

An initializer is a controller that changes objects which are stored but not yet let loose: `model` holds the rules of
then and `holds` what keeps an object waiting today, `plugin` does what the API server did, `controller` is what people
wrote, and `proxy` brings back what cannot be done from outside: objects that nobody sees, and a POST that waits. The
`examples` inject a sidecar and a certificate, and block what breaks a limit.

Left out, because it costs more lines than it teaches: `failurePolicy`, which Kubernetes never read either; wildcards in
what is stamped (a webhook that is asked about everything stops everything when it is down).
"""

from __future__ import annotations

from k8sext.admission.initializers.controller import Initializer, initializer
from k8sext.admission.initializers.plugin import Plugin, switch_on
from k8sext.admission.initializers.serving import RunningProxy, start, start_proxy, stop_all

__all__ = [
    "Initializer",
    "Plugin",
    "RunningProxy",
    "initializer",
    "start",
    "start_proxy",
    "stop_all",
    "switch_on",
]
