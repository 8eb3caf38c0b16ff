"""What runs in the collector's pod: fetch the weather, write it to the log and to the report.

Exit codes: 0 done, 3 the city is not known, 4 the provider cannot be reached, 5 the API server refuses or cannot be
reached. The last line on standard error says why; Kubernetes keeps it as the container's termination message.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.operators.plan import UNKNOWN_CITY, UNREACHABLE
from k8sext.operators.reconcile import REPORTS
from k8sext.weather import Day, ProviderUnreachable, UnknownCity, past_days

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

TRIES = 8


async def collect(client: ApiClient, namespace: str, name: str, generation: int) -> str:
    """Collect one generation of a report; returns the sentence for the log.

    A report that has changed or gone meanwhile is left alone: another pod is on its way. Raises what its helpers raise.
    """
    days: list[Day] = []
    for attempt in range(TRIES):
        try:
            report = await request(client, "GET", REPORTS.path(name, namespace))
        except ApiError as error:
            if error.code == 404:
                return f"{name} is gone, nothing is written."
            raise
        if report["metadata"]["generation"] != generation:
            return f"{name} asks for something else by now, nothing is written."
        if not days:
            spec = report["spec"]
            days = await past_days(spec["city"], spec["days"], spec.get("provider", "sample"))
            print(f"The past {len(days)} day{'s'[: len(days) > 1]} in {spec['city']}:", *days, sep="\n", flush=True)
        body = {
            "metadata": {"resourceVersion": report["metadata"]["resourceVersion"]},
            "status": {"report": [asdict(day) for day in days]},
        }
        try:
            await request(client, "PATCH", REPORTS.path(name, namespace, "status"), body, content_type=MERGE_PATCH)
            return f"Written to {namespace}/{name}."
        except ApiError as error:
            if error.code != 409:  # somebody else wrote at the same time: look at the new state, and write again
                raise
            await asyncio.sleep(0.05 * 2**attempt)
    raise Unreachable(f"{name} changed {TRIES} times while it was written")


async def main() -> int:
    """Collect the report that the environment names."""
    from k8sext.kube.connect import ConnectError, in_cluster

    try:
        client = await in_cluster()
        try:
            environment = (os.environ["NAMESPACE"], os.environ["REPORT"], int(os.environ["GENERATION"]))
            print(await collect(client, *environment))
        finally:
            await client.close()
    except UnknownCity as error:
        return _failed(error, UNKNOWN_CITY)
    except ProviderUnreachable as error:
        return _failed(error, UNREACHABLE)
    except (ApiError, Unreachable, ConnectError) as error:
        return _failed(error, 5)
    except (KeyError, ValueError) as error:
        return _failed(f"NAMESPACE, REPORT and GENERATION must be set in the environment ({error!r}).", 2)
    return 0


def _failed(why: object, code: int) -> int:
    print(why, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
