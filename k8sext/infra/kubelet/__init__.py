"""The kubelet: makes what the API server wants of a node come true, through a container runtime.

| Kubernetes says | here |
|---|---|
| configuration; registration, heartbeats | `config`; `node/node.register`, `node/node.report_status`, `node/lease` |
| pod workers and their sync loop, PLEG | `pod/worker.PodWorker`, `pod/loop.StepLoop`, `pod/workers._watch_runtime` |
| what a pod lacks (compute pod actions) | `pod/plan.next_step` |
| status manager: phase, conditions | `pod/status.pod_status`, `pod/conditions`, `pod/status_manager` |
| prober, lifecycle hooks, admission | `pod/probes.Prober`, `pod/hooks.Handlers`, `pod/admission.check` |
| CRI client; sandboxes, containers | `runtime/client.RuntimeClient`; `runtime/sandbox`, `runtime/containers` |
| volume manager; CSI client | `volumes/manager.Volumes`, `volumes/atomic_writer.write`, `plugins/csi.Driver` |
| plugin watcher, CSINode | `plugins/watcher.Plugins`, `plugins/csi.CsiNode` |
| server: logs, exec, port-forward | `server/server.Server`, `server/logs`, `server/streams` |
| summary provider; local storage eviction | `stats/provider.StatsProvider`, `stats/eviction.evict_pods` |

One process runs any number of nodes. Read it in this order:

* `run_nodes` keeps a kubelet running for every node that nodes.json wants, `kubelet` puts one node together from its
  parts;
* `node/` registers the node and says that it lives; `fake_nodes` does only this, for a thousand nodes;
* `pod/` has one worker for each pod: look at the runtime, `plan` the next step, take it, report the `status`, again;
* `runtime/` takes the steps, and puts them into the words of CRI;
* `volumes/` fills folders, or has CSI drivers bring them; `plugins/` finds the drivers;
* `stats/` measures what pods use, and ends those that use more of the disk than they may;
* `server/` answers the API server: logs, exec, attach, port-forward, and what is asked of the node (`node_endpoints`).

It speaks to the runtime over CRI only, so any CRI runtime will do. It keeps no state of its own that matters: kill it
at any instruction, and the next one goes on from what the API server and the runtime know.

Left out, because it costs more than it teaches: static pods, volumes other than emptyDir, configMap, secret,
downwardAPI, projected, hostPath below /var/lib/kubelet and claims served by CSI (an event refuses others), of CSI
attaching, block devices, inline volumes, secrets, pod information and fsGroup, in-place resize, image garbage
collection, eviction when the node runs short, cluster DNS, and node affinity at admission. Fields with which nothing
is done stand in `pod/not_honoured`: an event names them.
"""
