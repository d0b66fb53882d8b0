"""A real nginx or Caddy on a port of loopback, before a relay."""

import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.demo.local_supabase import find_free_port
from tests.daemons import run_daemon
from tests.postgres_binaries import choose_owner

PATIENCE_SECONDS: Final = 60.0

_NGINX: Final = """
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""

_CADDY: Final = """
{
    admin off
    auto_https off
    default_bind 127.0.0.1
}
import site.conf
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """How a proxy is set up.

    Attributes:
        name: of the configuration, for people.
        program: that reads it.
        site: in the program's language, with the placeholders `<relay>`, `<port>`, `<certificate>`
            and `<key>`.
    """

    name: str
    program: Literal["nginx", "caddy"]
    site: str

    @property
    def is_tls(self) -> bool:
        return "<certificate>" in self.site


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        configuration: its own.
        port: of 127.0.0.1.
        certificate: what clients trust; None where it speaks plain HTTP.
    """

    configuration: Configuration
    port: int
    certificate: Path | None

    @property
    def url(self) -> str:
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Open a connection, encrypted where the proxy is set up for it."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.certificate is None:
            return plain
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


def find_program(name: str) -> str | None:
    """Find a program, also where Debian puts it, which is not on every user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def run_proxy(program: str, configuration: Configuration, *relay_ports: int) -> Iterator[Proxy]:
    """Run one until the block ends; it ends with us too if we are killed.

    Args:
        program: its path.
        configuration: what it is given.
        relay_ports: of the relays behind it, on 127.0.0.1.

    Raises:
        DaemonError: it does not start.
    """
    # The guard removes it as well.
    with tempfile.TemporaryDirectory(prefix="proxy-", ignore_cleanup_errors=True) as path:
        folder = Path(path)
        port = find_free_port()
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        _write_certificate(certificate, key)
        site = configuration.site.replace("<port>", str(port))
        site = site.replace("<certificate>", str(certificate)).replace("<key>", str(key))
        is_nginx = configuration.program == "nginx"
        separator = "; server " if is_nginx else " "
        relays = separator.join(f"127.0.0.1:{relay_port}" for relay_port in relay_ports)
        (folder / "site.conf").write_text(site.replace("<relay>", relays))
        main = folder / "main.conf"
        main.write_text(_NGINX if is_nginx else _CADDY)
        homes = [f"{name}={folder}" for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")]
        arguments: dict[str, list[str | Path]] = {
            "nginx": [program, "-p", folder, "-e", "stderr", "-c", main],
            "caddy": ["env", *homes, program, "run", "--adapter", "caddyfile", "--config", main],
        }
        with run_daemon(arguments[configuration.program], folder, port, choose_owner()):
            yield Proxy(configuration, port, certificate if configuration.is_tls else None)


def _write_certificate(certificate: Path, key: Path) -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example.com")])
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.touch(0o600)
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
