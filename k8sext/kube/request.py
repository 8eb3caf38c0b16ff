"""One request, plain JSON in and out."""

# kubernetes.aio is typed in part only
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp

from k8sext.kube.credentials import renewed
from k8sext.kube.objects import Json

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Body = Json | list[Json]
"""What is sent: an object or a part of one; for JSON_PATCH a list of operations."""
Query = Mapping[str, str | int]
"""What stands behind the `?`: fieldSelector, labelSelector, dryRun and so on."""


class ApiError(Exception):
    """The API server refused: `code` is the HTTP status, `reason` and `message` come from its Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message or reason or f"HTTP {code}")
        self.code = code
        self.reason = reason
        self.message = message


class Unreachable(Exception):
    """No answer: the API server is down, the connection broke, or the time is over."""


async def request(
    client: ApiClient,
    method: str,
    path: str,
    body: Body | None = None,
    *,
    query: Query | None = None,
    content_type: str = "application/json",
    timeout: float = 30,
) -> Json:
    """Send one request and return the decoded answer.

    `path` is absolute ("/api/v1/nodes"), `body` is plain JSON. A PATCH needs one of the patch types above as
    `content_type`. Raises ApiError when the server answers with anything but 2xx, Unreachable when there is no usable
    answer.
    """
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        response = await send(client, method, path, body, query=query, content_type=content_type, timeout=limit)
        async with response:
            return json.loads(await response.read())
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{method} {path}: {error or type(error).__name__}") from error
    except ValueError as error:
        raise Unreachable(f"{method} {path}: the answer is not JSON") from error


async def send(
    client: ApiClient,
    method: str,
    path: str,
    body: Body | None = None,
    *,
    query: Query | None = None,
    content_type: str = "application/json",
    timeout: aiohttp.ClientTimeout,
) -> aiohttp.ClientResponse:
    """Send one request and return the answer with its body unread, for streams. Raises ApiError unless it is 2xx."""
    response, token = await _send(client, method, path, body, query, content_type, timeout)
    if response.status == 401 and await renewed(client, token):
        response.release()
        response, _ = await _send(client, method, path, body, query, content_type, timeout)
    if response.status >= 300:
        async with response:
            raise error_of(response.status, await response.read())
    return response


async def _send(
    client: ApiClient,
    method: str,
    path: str,
    body: Body | None,
    query: Query | None,
    content_type: str,
    timeout: aiohttp.ClientTimeout,
) -> tuple[aiohttp.ClientResponse, str]:
    """Return the answer, and the token that was shown ("" for none)."""
    method, url, headers, _, _ = await client.param_serialize(
        method,
        path,
        query_params=list((query or {}).items()),
        header_params={"Accept": "application/json", "Content-Type": content_type},
        auth_settings=["BearerToken"],
    )
    answer = await client.call_api(method, url, headers, body, _request_timeout=timeout)
    return answer.response, headers.get("authorization", "")


def error_of(code: int, body: bytes) -> ApiError:
    """What an answer other than 2xx says."""
    try:
        status = json.loads(body)
        return ApiError(code, status.get("reason", ""), status.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(code, "", body.decode(errors="replace").strip()[:300])
