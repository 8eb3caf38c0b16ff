"""The node: a container runtime (CRI), a network plugin (CNI), a storage driver (CSI) and the kubelet that drives them.

They know each other by their protocols alone. What else a node is made of stands here:

| Kubernetes | here |
|---|---|
| node, capacity, taints | `nodes.NodeSpec`, `nodes.follow` |
| pod CIDR, Service CIDR | `addresses.pod_range`, `addresses.halves` |
| CONNECT proxy (egress selector, KEP-1281) | `connect_proxy.serve`, `connect_proxy.dial` |
| upgrade to SPDY (exec, attach, port-forward) | `upgrade.accept`, `upgrade.connect` |
| gRPC status codes of CRI and CSI | `grpc.StatusError`, `grpc.make_server` |
| accessModes of volumes | `access_modes` |
"""
