"""Fetching over TLS: certificates are of the name, though an address is dialled."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from moderation.errors import TemporaryFault
from tests.unit.media.hosts import BODY, LocalInternet, MakeFetcher, Names, Site, refusal


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for public.example, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=public.example", "-addext", "subjectAltName=DNS:public.example"]
    try:
        subprocess.run(
            [*command, "-keyout", str(path), "-out", str(path) + ".crt"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        assert os.environ.get("CI") != "true", "CI must have openssl"
        pytest.skip("making a certificate needs the openssl command")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_checks_the_name_and_not_the_address(
    site: Site, certificate: Path, make_fetcher: MakeFetcher
) -> None:
    """On a pinned connection the certificate must be the host name's, which is also the SNI."""
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _, name, __: asked.append(name)
    site.socket = server.wrap_socket(site.socket, server_side=True)
    trust = ssl.create_default_context(cafile=f"{certificate}.crt")
    names = Names(lambda _: ["93.184.216.34"])
    fetcher = make_fetcher(resolve=names, network=LocalInternet(site.port), tls=trust)
    assert fetcher.fetch("https://public.example/image") == BODY
    error = refusal(fetcher, "https://other.example/image")
    assert isinstance(error, TemporaryFault)
    assert asked == ["public.example", "other.example"]


def test_untrusted_certificates_are_refused(
    site: Site, certificate: Path, make_fetcher: MakeFetcher
) -> None:
    """By default only certificates of known authorities are taken."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    site.socket = server.wrap_socket(site.socket, server_side=True)
    fetcher = make_fetcher(resolve=Names(), network=LocalInternet(site.port))
    assert isinstance(refusal(fetcher, "https://public.example/image"), TemporaryFault)
