"""The counterpart of client-go's tools: what every program that talks to an API server for long needs.

`connect` opens a client, `request` speaks plain JSON over it, `watch` keeps a list up to date for ever, `informer` keeps that list in
a `store` with indexes, `queue` hands out the keys of what changed, `events` tells people what happened, `election` lets one of
several copies work, `metrics` and `serve` answer Prometheus and the kubelet.
Everything rests on the ApiClient of the official `kubernetes.aio`; its generated models are left alone, because decoding them
costs more than the request itself.
"""
