"""The CSI driver csi.k8sext.dev: volumes that are folders of a node.

Read it in this order:

* `proto` has the interface, `identity`, `controller` and `node` are its three services; `capabilities` says what may be asked for;
* `state` is all the driver remembers, on the disk; `publish` makes a volume stand at a path, by a bind mount or by a link;
* `server` serves it at a socket, `registration` makes it known to the kubelet, `errors` become status codes;
* `provisioner` watches claims and asks the driver for volumes, `persistent` has the words of both worlds, `expansion` lets volumes grow.

It keeps no memory: kill it at any instruction, and the next one goes on from its folder. Every call may be made again.

How volumes come to pods. `--publish link`, the default, puts a symbolic link where the kubelet wants the volume: no right is needed
for it, so the same manifest runs on the embedded cluster, whose pods may not mount for others, and on kind. `--publish bind` mounts,
as other drivers do; in a pod that takes `privileged: true` and `mountPropagation: Bidirectional`.

A volume's size is a promise that nothing enforces: a plain folder has no quota. Left out: attaching, block devices, access from several
nodes, group snapshots, volume attributes, inline volumes, and the VolumeSnapshot objects of Kubernetes (snapshots are made by calling the
driver).
"""
