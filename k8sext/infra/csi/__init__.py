"""The CSI driver csi.k8sext.dev: volumes that are folders of a node.

Read it in this order; on the left is what the CSI specification and Kubernetes' own sidecars call it:

    Identity, Controller, Node service       identity.Identity, controller.Controller, node.Node; the interface: proto/
    VolumeCapability, CapacityRange          capabilities.check, capabilities.capacity
    (all the driver remembers, on disk)      state.Store
    publish: bind mount or symbolic link     publish.BindMounts, publish.Links
    the server at the CSI socket             server.serving
    node-driver-registrar                    registration.Registration
    external-provisioner                     provisioner.Provisioner; in the words of both worlds: persistent
    external-resizer                         expansion.Expansion

It keeps no memory: kill it at any instruction, and the next one goes on from its folder. Every call may be made again.

How volumes come to pods. `--publish link`, the default, puts a symbolic link where the kubelet wants the volume: no
right is needed for it, so the same manifest runs on the embedded cluster, whose pods may not mount for others, and on
kind. `--publish bind` mounts, as other drivers do; in a pod that takes `privileged: true` and `mountPropagation:
Bidirectional`.

A volume's size is a promise that nothing enforces: a plain folder has no quota. Left out: attaching, block devices,
access from several nodes, group snapshots, volume attributes, inline volumes, and the VolumeSnapshot objects of
Kubernetes (snapshots are made by calling the driver).
"""
