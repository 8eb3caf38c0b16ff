"""The weather operator: whoever creates a WeatherReport gets the weather, collected by a pod.

Read in this order: `pods` (the collector's pod, written and read), `desired` (what ought to be, decided without a single request),
`reconcile` (make it so), `controller` (informers, queue and workers around it, by hand), `framework` (the same in kopf), `collect`
(what runs in the pod), `__main__` (command line, probes, leader election). `scaffold` writes new operators.

There is no finalizer: a report leaves nothing behind but its pods, and those carry an owner reference, so that Kubernetes' own garbage
collector removes them. Left out: following pods in other clusters, and keeping old reports.
"""
