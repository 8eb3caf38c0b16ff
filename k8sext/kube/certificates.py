"""A certificate authority of one's own and what it signs, for a cluster as for a webhook.

Kubernetes knows a user by a client certificate: the common name is the user, each organization a group
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from k8sext import files

LIFETIME = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both as PEM text."""

    certificate: str
    key: str

    def save(self, folder: Path, name: str) -> None:
        """Write name.crt and name.key into folder, for their owner alone (0600)."""
        files.replace(folder / f"{name}.key", self.key, mode=0o600)
        files.replace(folder / f"{name}.crt", self.certificate, mode=0o600)

    @classmethod
    def load(cls, folder: Path, name: str) -> Pair:
        """Read what save() wrote. Raises FileNotFoundError."""
        return cls((folder / f"{name}.crt").read_text(), (folder / f"{name}.key").read_text())


def authority(name: str = "k8sext", lifetime: datetime.timedelta = LIFETIME) -> Pair:
    """A new self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(subject, subject, key.public_key(), lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issue(
    ca: Pair,
    user: str,
    groups: Sequence[str] = (),
    hosts: Sequence[str] = (),
    lifetime: datetime.timedelta = LIFETIME,
) -> Pair:
    """A key and a certificate signed by ca, good for lifetime from now.

    user and groups make it a client's; hosts (names or addresses) make it a server's as well.
    """
    ca_certificate = x509.load_pem_x509_certificate(ca.certificate.encode())
    ca_key = serialization.load_pem_private_key(ca.key.encode(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        + [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
    builder = (
        _builder(subject, ca_certificate.subject, key.public_key(), lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False)
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def time_left(certificate: str) -> datetime.timedelta:
    """The time until a PEM certificate ends; negative when it has."""
    end = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    return end - datetime.datetime.now(datetime.UTC)


def days_left(certificate: str) -> int:
    """Whole days until a PEM certificate ends; negative when it has."""
    return time_left(certificate).days


def service_account_keys() -> tuple[str, str]:
    """A private and a public key (PEM) that sign and check service-account tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _key_text(key), public.decode()


def kubeconfig(name: str, server: str, ca: Pair, client: Pair) -> str:
    """A kubeconfig file (YAML) with one cluster, one user and one context, all called name.

    Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
    """
    from k8sext.kube.manifest import to_yaml

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": encoded(ca.certificate)}}
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": encoded(client.certificate),
                    "client-key-data": encoded(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return to_yaml(content)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        # Clocks of containers and hosts differ by minutes; a certificate of the future would be refused.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + lifetime)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), _key_text(key))
