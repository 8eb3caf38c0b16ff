"""The counterpart of client-go's tools: what every program that talks to an API server for long needs.

| client-go, controller-runtime | here |
|---|---|
| rest.Config: kubeconfig, in-cluster | `connect.from_kubeconfig`, `connect.in_cluster` |
| RESTClient, scheme.ParameterCodec; RESTMapper | `request.request`, `resource.Resource`; `resource.discover` |
| Reflector (list and watch), transform | `watch.list_and_watch`, `informer.without_managed_fields` |
| SharedIndexInformer, Indexer | `informer.Informer`, `store.Store` |
| workqueue (rate limiting, delaying) | `queue.WorkQueue` |
| Reconciler and its worker loop | `controller.worker`, `controller.Result` |
| EventRecorder, leaderelection | `events.EventRecorder`, `election.lead` |
| metrics, healthz | `metrics.ControllerMetrics`, `serve.serving` |
| resource.Quantity, pod requests | `quantity.parse`, `pod.requests` |

Read it from `request` to `controller`; `background` lets all of it run in a thread beside code without an event loop.
Everything rests on the ApiClient of the official `kubernetes.aio`; its generated models are left alone, because
decoding them costs more than the request itself.
"""
