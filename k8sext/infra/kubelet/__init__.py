"""The kubelet: makes what the API server wants of a node come true, through a container runtime.

One process runs any number of nodes. Read it in this order:

* `fleet` keeps a kubelet running for every node that nodes.json wants, `kubelet` puts one node together from its parts;
* `node` registers the node and says that it lives, `light` does only this, for a thousand nodes;
* `pods` has one worker for each pod: look at the runtime, `plan` the next step, take it, report the `status`, again;
* `sandbox` and `containers` take the steps, `translate` puts them into the words of CRI, with `images`,
  `env`, `volumes`, `probes`, `actions` and `backoff` at their side;
* `plugins` finds CSI drivers and names them in the `csinode`, `claims` says which volume a pod means, `csi` has the drivers bring it;
* `server` answers the API server: logs, exec, attach, and how full volumes are.

It speaks to the runtime over CRI only, so any CRI runtime will do. It keeps no state of its own that matters: kill it at any
instruction, and the next one goes on from what the API server and the runtime know.

Left out, because it costs more than it teaches: static pods, volumes other than emptyDir, configMap, secret, downwardAPI,
projected, hostPath below /var/lib/kubelet and claims served by CSI (an event refuses others), of CSI attaching, block devices, inline
volumes, secrets and pod information, fsGroup, in-place resize, image pull secrets, image garbage collection, eviction under
pressure, devices, cluster DNS and hostAliases, gRPC
probes, node affinity at admission, restartPolicyRules, `terminationMessagePath` (logs stand in for it), and
port-forward, which still tunnels SPDY.
"""
