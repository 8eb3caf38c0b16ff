"""The certificate a webhook shows: TLS 1.2 or later, changed for a new one while the server goes on serving."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from k8sext.kube.certificates import Pair


def server_context(pair: Pair, clients: str = "") -> ssl.SSLContext:
    """A context that shows pair. Clients that have a certificate of the authority `clients` (PEM) may show it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        context.load_verify_locations(cadata=clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    show(context, pair)
    return context


def show(context: ssl.SSLContext, pair: Pair) -> None:
    """Show this certificate from the next connection on. Python reads it from files only, which are gone at once."""
    with tempfile.TemporaryDirectory(prefix="k8sext-tls-") as folder:
        pair.save(Path(folder), "server")
        context.load_cert_chain(Path(folder) / "server.crt", Path(folder) / "server.key")
