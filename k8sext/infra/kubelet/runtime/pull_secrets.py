"""imagePullSecrets: which user names and passwords of a pod's Secrets are for the registry of an image.

A Secret holds what `docker login` writes: for each registry, or part of one, a user. Source: "Pull an Image from a
Private Registry" in the Kubernetes documentation, and pkg/credentialprovider (keyring.go, config.go).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from k8sext.kube.objects import Json, part

DEFAULT = "index.docker.io"
FORMATS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


class Credentials(NamedTuple):
    """A user of a registry."""

    username: str
    password: str


def credentials_for(image: str, secrets: Iterable[Json]) -> list[Credentials]:
    """Every user that may be the right one, those for longer paths first. Secrets of other types hold none."""
    known = [(place, user) for secret in secrets for place, user in _entries(secret)]
    known.sort(key=lambda entry: entry[0], reverse=True)
    found = [user for place, user in known if _matches(place, image)]
    if not found and _is_default(image):
        found = [user for place, user in known if place == DEFAULT]
    return found


def _entries(secret: Json) -> list[tuple[str, Credentials]]:
    """The registries of one Secret, without scheme and API version, as registry.example/team."""
    key = FORMATS.get(secret.get("type", ""), "")
    try:
        content = json.loads(base64.b64decode(part(secret, "data").get(key, "")))
        places = content["auths"] if key == ".dockerconfigjson" else content
        return [(_place(name), _user(entry)) for name, entry in places.items()]
    except (ValueError, KeyError, AttributeError, TypeError):
        return []  # the kubelet pulls without it and lets the registry say what is wrong


def _user(entry: Json) -> Credentials:
    if "auth" not in entry:
        return Credentials(entry.get("username", ""), entry.get("password", ""))
    user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    if not colon:
        raise ValueError("auth is user:password in base64")
    return Credentials(user, password.strip("\0"))


def _place(name: str) -> str:
    host, _, path = name.removeprefix("https://").removeprefix("http://").partition("/")
    for version in ("v1/", "v2/"):
        path = path.removeprefix(version)
    return f"{host}/{path}" if path else host


def _matches(place: str, image: str) -> bool:
    """Whether a registry, with * for parts of its host, and perhaps the beginning of a path, is the image's."""
    host, _, path = place.partition("/")
    of_image, _, path_of_image = image.partition("/")
    name, _, port = host.partition(":")
    name_of_image, _, port_of_image = of_image.partition(":")
    parts, parts_of_image = name.split("."), name_of_image.split(".")
    return (
        port == port_of_image
        and len(parts) == len(parts_of_image)
        and path_of_image.startswith(path)
        and all(fnmatchcase(asked, pattern) for pattern, asked in zip(parts, parts_of_image, strict=True))
    )


def _is_default(image: str) -> bool:
    """Whether an image is one of Docker Hub, which may be left out of its name."""
    first, slash, _ = image.partition("/")
    return not slash or first in ("docker.io", DEFAULT) or not set(".:") & set(first)
