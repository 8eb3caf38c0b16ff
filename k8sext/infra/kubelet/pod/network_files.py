"""What a pod's programs find out about names: its host name, /etc/hosts, and what goes into /etc/resolv.conf.

Source: GeneratePodHostNameAndDomain and makeHostsMount in pkg/kubelet/kubelet_pods.go, GetPodDNS in
pkg/kubelet/network/dns/dns.go. There is no DNS in the cluster here, so `ClusterFirst` is the node's own, as the real
kubelet does without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.kube.objects import Json, part, parts

DOMAIN = "cluster.local"
HOSTS, RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")
LONGEST = 63
"""Characters of a host name."""
LOCAL = (
    "# Kubernetes-managed hosts file.",
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)
OF_NODE = "# Kubernetes-managed hosts file (host network)."


def host_and_domain(pod: Json) -> tuple[str, str]:
    """A pod's host name, and the domain of its subdomain, "" without one."""
    metadata, spec = pod["metadata"], pod["spec"]
    if override := spec.get("hostnameOverride"):
        return _cut(override), ""
    subdomain = spec.get("subdomain")
    domain = f"{subdomain}.{metadata['namespace']}.svc.{DOMAIN}" if subdomain else ""
    return _cut(spec.get("hostname") or metadata["name"]), domain


def host_name(pod: Json) -> str:
    """What `hostname` says in the pod: with setHostnameAsFQDN its domain, too."""
    host, domain = host_and_domain(pod)
    return f"{host}.{domain}" if domain and pod["spec"].get("setHostnameAsFQDN") else host


def hosts(pod: Json, ip: str, of_node: str) -> str:
    """The content of /etc/hosts; on the node's network what the node's says, `of_node`, and the aliases."""
    lines = [*LOCAL]
    if podspec.is_host_network(pod):
        lines = [OF_NODE, *of_node.splitlines()]
    else:
        host, domain = host_and_domain(pod)
        lines.append(f"{ip}\t{host}.{domain}\t{host}" if domain else f"{ip}\t{host}")
    if aliases := parts(pod["spec"], "hostAliases"):
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias["ip"], *alias.get("hostnames", ())]) for alias in aliases]
    return "\n".join([*lines, ""])


def hosts_mounts(pod: Json, container: Json, ip: str, folder: Path) -> list[cri.Mount]:
    """Write the pod's hosts file into its folder, and return how it comes into a container; nothing if a volume stands
    at its place. Raises OSError."""
    if not ip or podspec.has_mount_at(container, str(HOSTS)):
        return []
    file = folder / "etc-hosts"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(hosts(pod, ip, HOSTS.read_text(errors="replace") if HOSTS.exists() else ""))
    file.chmod(0o644)
    return [cri.Mount(container_path=str(HOSTS), host_path=str(file))]


def dns_config(pod: Json, of_node: str) -> cri.DNSConfig:
    """What dnsPolicy and dnsConfig ask for, on top of the node's resolv.conf; empty where the node's own will do."""
    spec = pod["spec"]
    asked, alone = part(spec, "dnsConfig"), spec.get("dnsPolicy") == "None"
    if not asked and not alone:
        return cri.DNSConfig()
    base = cri.DNSConfig() if alone else _read(of_node)
    options = {option.partition(":")[0]: option for option in base.options}
    for option in parts(asked, "options"):
        value = option.get("value")
        options[option["name"]] = option["name"] if value is None else f"{option['name']}:{value}"
    return cri.DNSConfig(
        servers=_once([*base.servers, *(asked.get("nameservers") or ())]),
        searches=_once([*base.searches, *(asked.get("searches") or ())]),
        options=options.values(),
    )


def _read(text: str) -> cri.DNSConfig:
    """Name servers, search list and options of a resolv.conf; of several search lists the last counts."""
    found = cri.DNSConfig()
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                found.servers.append(server)
            case ["search", *domains]:
                found.searches[:] = domains
            case ["options", *options]:
                found.options[:] = options
            case _:
                pass
    return found


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else name[:LONGEST].rstrip("-.")
