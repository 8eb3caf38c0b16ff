"""The counterpart of client-go's tools: what every program that talks to an API server for long needs.

`connect` opens a client, `request` speaks plain JSON over it, `watch` keeps a list up to date for ever, `events` tells
people what happened.
Everything rests on the ApiClient of the official `kubernetes.aio`; its generated models are left alone, because decoding them
costs more than the request itself.
"""
