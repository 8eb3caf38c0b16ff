"""A registry of images on loopback: what the OCI distribution specification asks of one that is only read from."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from k8sext.kube.objects import Json

MEDIA = "application/vnd.oci.image."
PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


class Registry:
    """Images in memory, all of it found by digest, a manifest also by its tag."""

    def __init__(self, credentials: str = "") -> None:
        """`credentials` are user:password, wanted from everybody who asks."""
        self.credentials, self.address = credentials, ""
        self.contents: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}

    def add(self, name: str, layers: Iterable[bytes], config: Json) -> str:
        """Take in an image as `repository:tag`, from its layers, each a tar file, and its config; return its digest."""
        digests = [self._hold(layer) for layer in layers]
        image = {"architecture": "amd64", "os": "linux", "config": config}
        image["rootfs"] = {"type": "layers", "diff_ids": digests}
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}manifest.v1+json",
            "config": self._descriptor("config.v1+json", self._hold(json.dumps(image).encode())),
            "layers": [self._descriptor("layer.v1.tar", digest) for digest in digests],
        }
        self.tags[name] = self._hold(json.dumps(manifest).encode())
        return self.tags[name]

    def stand_in(self, home: Path, *registries: str) -> dict[str, str]:
        """Write into a home folder that others are asked here; return the variables that make it the home of skopeo.

        skopeo 1.9 knows no other way: CONTAINERS_REGISTRIES_CONF is younger, and /etc is the whole machine's.
        """
        this = f'location = "{self.address}"\ninsecure = true\n'
        others = [f'[[registry]]\nlocation = "{name}"\n[[registry.mirror]]\n{this}' for name in registries]
        folder = home / ".config" / "containers"
        folder.mkdir(parents=True)
        (folder / "registries.conf").write_text("\n".join([f"[[registry]]\n{this}", *others]))
        return {"HOME": str(home), "XDG_CONFIG_HOME": str(folder.parent)}

    def _hold(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.contents[digest] = content
        return digest

    def _descriptor(self, kind: str, digest: str) -> Json:
        return {"mediaType": f"{MEDIA}{kind}", "digest": digest, "size": len(self.contents[digest])}


@contextmanager
def serving(registry: Registry) -> Iterator[None]:
    """Serve a registry at a free port, which is in its address then."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            wanted = "Basic " + base64.b64encode(registry.credentials.encode()).decode()
            if registry.credentials and self.headers["Authorization"] != wanted:
                self._send(401, b"", {"WWW-Authenticate": 'Basic realm="registry"'})
            elif self.path == "/v2/":
                self._send(200, b"{}", {})
            elif (found := PATH.fullmatch(self.path)) is None:
                self._send(404, b"", {})
            else:
                repository, kind, reference = found.groups()
                digest = registry.tags.get(f"{repository}:{reference}", reference)
                media = f"{MEDIA}manifest.v1+json" if kind == "manifests" else "application/octet-stream"
                content = registry.contents.get(digest)
                headers = {"Content-Type": media, "Docker-Content-Digest": digest}
                self._send(404 if content is None else 200, content or b"", headers)

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
