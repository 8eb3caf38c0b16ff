"""What is asked of the node as a whole: its pods, what they use, its configuration.

By `kubectl get --raw /api/v1/nodes/NODE/proxy/...`: pods, stats/summary, metrics, metrics/resource, configz, healthz.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from k8sext.infra.addresses import KUBELET_PORT
from k8sext.infra.kubelet.config import Config
from k8sext.infra.kubelet.runtime.client import RuntimeFailure
from k8sext.infra.kubelet.server.metrics import resource_metrics, volume_metrics
from k8sext.infra.kubelet.stats.provider import StatsProvider
from k8sext.infra.nodes import NodeSpec
from k8sext.kube.objects import Json
from k8sext.kube.serve import METRICS_TYPE

Handler = Callable[[web.Request], Awaitable[web.Response]]


class NodeEndpoints:
    """Answers for one node."""

    def __init__(self, spec: NodeSpec, config: Config, pods: Callable[[], list[Json]], stats: StatsProvider) -> None:
        """`pods`: those of the node, with the status that this kubelet knows."""
        self._spec, self._config, self._pods, self._stats = spec, config, pods, stats

    def routes(self) -> list[web.RouteDef]:
        """For the router of the node's server. A path is served with and without a slash at its end, as is usual
        there."""
        handlers: dict[str, Handler] = {
            "/healthz": self._healthz,
            "/pods": self._list_pods,
            "/stats/summary": self._summary,
            "/metrics": self._metrics,
            "/metrics/resource": self._resources,
            "/configz": self._configz,
        }
        return [web.get(path + end, handler) for path, handler in handlers.items() for end in ("", "/")]

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _list_pods(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._pods()})

    async def _summary(self, _: web.Request) -> web.Response:
        return web.json_response(await self._measure())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=volume_metrics(await self._stats.claims()), headers={"Content-Type": METRICS_TYPE})

    async def _resources(self, _: web.Request) -> web.Response:
        return web.Response(text=resource_metrics(await self._measure()), headers={"Content-Type": METRICS_TYPE})

    async def _configz(self, _: web.Request) -> web.Response:
        return web.json_response({"kubeletconfig": kubelet_configuration(self._spec, self._config)})

    async def _measure(self) -> Json:
        try:
            return await self._stats.summary(self._pods())
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=f"the runtime does not answer: {error.message}") from error


def kubelet_configuration(spec: NodeSpec, config: Config) -> Json:
    """What is set of this kubelet, as a KubeletConfiguration.

    https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
    """
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "syncFrequency": f"{config.sync_frequency:g}s",
        "address": spec.ip,
        "port": KUBELET_PORT,
        "authentication": {
            "x509": {"clientCAFile": str(config.client_ca_file)},
            "webhook": {"enabled": False},
            "anonymous": {"enabled": False},
        },
        "maxPods": int(spec.capacity["pods"]),
        "podCIDR": spec.pod_cidr,
        "containerRuntimeEndpoint": config.endpoint(spec.name),
        "crashLoopBackOff": {"maxContainerRestartPeriod": f"{config.crash_loop_limit:g}s"},
    }
