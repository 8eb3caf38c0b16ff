"""The runtime handler `oci`: containers with a root folder, namespaces and a network of their own.

A pod asks for it by its RuntimeClass. Read in this order: `handler` (what happens to a pod and its containers), `pause`
(the process that holds a pod's namespaces), `bundle` (config.json, field by field: what a container *is*), `rootfs`
(its files), `network` and `network_namespace` (veth pairs, a bridge, and where they are), `users`, `image_store`
(images, from an archive or a registry to a folder), `capability_checks` (whether this machine allows it).

Who does what: the shim holds the pause container, which holds the pod's namespaces; the network plugin
`k8sext-bridge` wires its network namespace up; the kept program crun makes each container from its bundle and stays
in front of it, as a child of the shim, so that logs, exec, attach and exit codes go the way they go under `process`.
skopeo and umoci fetch and unpack images; which mirrors skopeo asks is said where it looks for that
(containers-registries.conf(5)).

- As root: everything below. Without root: in a user namespace, where root is we; so `runAsUser` other than 0 is
  refused.
- Honoured: namespaces (network, ipc, uts, pid, mount) shared as the pod asks, hostNetwork, hostPID, hostIPC; command,
  environment, user and working folder of the image; users by number and by name, groups; capabilities;
  no-new-privileges; read-only root; masked and read-only paths; the pod's own sysctls; volumes; DNS settings; limits
  where a cgroup is delegated (the group is ours, see `cgroups`: crun is told to leave groups alone).
- Accepted without effect: the default seccomp and AppArmor profiles. Refused with a sentence: other profiles, SELinux
  labels where there is SELinux, devices, hostPort, mount propagation, image volumes, user namespaces per pod.
"""
