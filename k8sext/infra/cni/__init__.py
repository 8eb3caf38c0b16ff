"""A network plugin (CNI 1.1): the executable `k8sext-bridge`, which gives each pod a cable to a bridge.

A container runtime calls a network plugin as it would call any command: the verb and the pod in environment
variables, the network's configuration as JSON on standard input, the answer as JSON on standard output. There is no
server and no connection; what must be remembered stands in the kernel (links, addresses, routes) and in one file
(which pod has which address). Read in this order: `plugin` (the command), `request` (what it is asked), `bridge` (the
five verbs), `addresses` (who has which), `ip` (how the kernel is told).

| CNI | here |
|---|---|
| execution protocol: CNI_COMMAND, stdin, stdout | `plugin.main`, `request.decode` |
| network configuration, prevResult | `request.Config` |
| ADD, DEL, CHECK, GC, STATUS | `bridge.add`, `bridge.delete`, `bridge.check`, `bridge.collect`, `bridge.status` |
| IPAM (host-local) | `addresses.Addresses` |
| error codes | `request.CniError` |

    {"cniVersion": "1.1.0", "name": "pods", "type": "k8sext-bridge", "bridge": "cni0", "mtu": 1500,
     "ipam": {"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.2", "rangeEnd": "10.244.1.254",
              "gateway": "10.244.1.1", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/var/lib/cni/k8sext"}}

Only `ipam.subnet` must be given. It works as root and, all the same, in a user namespace that owns its network
namespace.

Why the program `ip` and no library: every distribution keeps it, its batch mode makes an attachment with two
processes, and the reader can type every line. A netlink library for Python takes longer to import than the kernel
takes for the whole attachment. For the same reason the modules here import little: most of a call's time is Python's
start.

Left out: IPv6, masquerading (`ipMasq` is refused), VLANs, bandwidth, other IPAM plugins, versions before 1.0.0.

Source: the CNI specification 1.1.0, https://www.cni.dev/docs/spec/.
"""
