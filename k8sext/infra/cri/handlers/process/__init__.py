"""The runtime handler `process`: a container is a process of this machine.

Read in this order: `handler` (what happens to a pod and its containers), `specification` (from a request to a command
line), `isolation` (mounts without a privilege), `identity` (as whom, with which rights).
"""
