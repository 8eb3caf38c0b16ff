"""One node's kubelet, put together: what each part needs stands here as its arguments."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from k8sext.infra.addresses import loopback_address
from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.config import Config
from k8sext.infra.kubelet.node import node
from k8sext.infra.kubelet.node.lease import renew_lease
from k8sext.infra.kubelet.node.node import NodeSpec, Readiness
from k8sext.infra.kubelet.plugins.csi import CsiNode
from k8sext.infra.kubelet.plugins.watcher import Plugins
from k8sext.infra.kubelet.pod.dial import Dialer, PodConnector
from k8sext.infra.kubelet.pod.env import Environment
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.hooks import Handlers
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.pod.worker import PodWorker
from k8sext.infra.kubelet.pod.workers import PodWorkers
from k8sext.infra.kubelet.runtime.backoff import Backoff
from k8sext.infra.kubelet.runtime.cache import PodCache
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.infra.kubelet.runtime.containers import Containers
from k8sext.infra.kubelet.runtime.images import Images
from k8sext.infra.kubelet.runtime.sandbox import Sandboxes
from k8sext.infra.kubelet.server.node_endpoints import NodeEndpoints
from k8sext.infra.kubelet.server.rotation import rotate_logs
from k8sext.infra.kubelet.server.server import Server
from k8sext.infra.kubelet.stats.eviction import evict_pods
from k8sext.infra.kubelet.stats.provider import StatsProvider
from k8sext.infra.kubelet.volumes.claims import Claims
from k8sext.infra.kubelet.volumes.csi import CsiVolumes
from k8sext.infra.kubelet.volumes.manager import Volumes
from k8sext.infra.kubelet.volumes.pod_certificates import PodCertificates
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.events import EventRecorder
from k8sext.kube.objects import timestamp

log = logging.getLogger(__name__)

CONNECTIONS = 10
"""Two of them are watches. More would cost memory and handshakes and make nothing faster."""


async def run_node(spec: NodeSpec, config: Config) -> None:
    """Be the kubelet of one node until cancelled. Raises if the node cannot begin: no kubeconfig, no runtime, port
    taken."""
    folder = config.root_dir / spec.name
    async with contextlib.AsyncExitStack() as stack:
        # the outside: API server, runtime, pods, drivers
        client = await from_kubeconfig(folder / "kubeconfig", connections=CONNECTIONS)
        stack.push_async_callback(client.close)
        runtime = RuntimeClient(config.endpoint(spec.name))
        stack.push_async_callback(runtime.close)
        versions = await runtime.version()
        await runtime.update_runtime_config(cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr=spec.pod_cidr)))
        dialer = Dialer(config.loopback, config.pods_proxy)
        to_pods = await stack.enter_async_context(aiohttp.ClientSession(connector=PodConnector(dialer)))
        paths = config.paths(spec.name)
        paths.make()
        plugins = Plugins(paths, CsiNode(client, spec.name))

        # what containers are made of
        events = PodEvents(await stack.enter_async_context(EventRecorder(client, "kubelet", spec.name)))
        cache, references = PodCache(runtime), References(client)
        address = urlsplit(client.configuration.host)
        environment = Environment(spec.ip, spec.capacity, (address.hostname or "", address.port or 443), references)
        csi = CsiVolumes(paths, plugins, Claims(client, references))
        certificates = PodCertificates(references, spec.name)
        volumes = Volumes(paths, references, csi, environment, certificates, config.sync_frequency)
        sandboxes = Sandboxes(runtime, cache, references, events, config.pod_logs(spec.name))
        images = Images(runtime, events, Backoff(config.crash_loop_base, config.crash_loop_limit), references)
        handlers = Handlers(runtime, to_pods, dialer)
        restarts = Backoff(config.crash_loop_base, config.crash_loop_limit)
        limits_note = await _why_no_limits(runtime)
        containers = Containers(
            runtime, images, sandboxes, environment, volumes, handlers, events, restarts, limits_note
        )

        async def clean_up(pod_uid: str) -> None:
            """Leave nothing of a pod on the node."""
            await sandboxes.remove(pod_uid)
            await volumes.remove(pod_uid)
            images.forget(pod_uid)

        # the pods, and what is asked about them
        new_worker = partial(
            PodWorker,
            client=client,
            events=events,
            cache=cache,
            sandboxes=sandboxes,
            containers=containers,
            volumes=volumes,
            handlers=handlers,
            clean_up=clean_up,
            runtime_name=versions.runtime_name,
            node_ip=spec.ip,
        )
        pods = PodWorkers(client, spec.name, spec.capacity, cache, volumes, clean_up, new_worker)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        stats = StatsProvider(spec.name, runtime, cache, volumes, csi.stats, paths.root)
        endpoints = NodeEndpoints(spec, config, pods.all, stats)
        server = Server(runtime, cache, session, pods.find_pod, pods.end_of, endpoints)
        listen = loopback_address(spec.ip, config.loopback)
        runner = await server.start(listen, folder / "kubelet.crt", folder / "kubelet.key", config.client_ca_file)
        stack.push_async_callback(runner.cleanup)

        check = partial(check_runtime, runtime)
        await node.register(client, node.node_object(spec, versions, await check(), timestamp()))
        log.info("node %s is registered", spec.name)
        async with asyncio.TaskGroup() as group:
            group.create_task(renew_lease(client, spec.name))
            group.create_task(node.report_status(client, spec, versions, check))
            group.create_task(references.watch_services())
            group.create_task(pods.run())
            group.create_task(evict_pods(pods.workers, stats))
            group.create_task(plugins.run(pods.wake_all))
            group.create_task(rotate_logs(runtime, config.pod_logs(spec.name), pods.work))


async def check_runtime(runtime: RuntimeClient) -> Readiness:
    """Is the runtime ready for pods?"""
    try:
        answer = await runtime.status()
    except RuntimeFailure as error:
        return Readiness(False, error.message)
    broken = [f"{c.type}: {c.message}" for c in answer.status.conditions if not c.status]
    return Readiness(not broken, "; ".join(broken))


async def _why_no_limits(runtime: RuntimeClient) -> str:
    """Why this runtime does not enforce limits; "" if it does, or does not say."""
    limits = (await runtime.status(verbose=True)).info.get("limits", "enforced")
    return limits if limits != "enforced" else ""
