"""Addresses: the public internet and nothing else."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.media.addresses import is_public

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::200e"]
PRIVATE = [
    "0.0.0.0",  # noqa: S104 - an address to refuse, not to bind
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "100::1",
    "fd00:ec2::254",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001::1",
    "2001:db8::1",
    "2002:0808:0808::1",
    "3fff::1",
    "5f00::1",
    "64:ff9b:1::808:808",
]
NETWORKS = st.sampled_from(
    [
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("224.0.0.0", 4),
        ("240.0.0.0", 4),
    ]
)


@st.composite
def _private_v4(draw: st.DrawFn) -> IPv4Address:
    base, prefix = draw(NETWORKS)
    return IPv4Address(int(IPv4Address(base)) + draw(st.integers(0, 2 ** (32 - prefix) - 1)))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    """Ordinary hosts of the internet can be reached."""
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_special_addresses_are_not_public(address: str) -> None:
    """Each special range of IANA's registries is refused, the clouds' metadata included."""
    assert not is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "2130706433", "1.2.3.4.5", "::g"])
def test_what_is_no_address_is_not_public(text: str) -> None:
    """Text that is not an address in full never passes for a public one."""
    assert not is_public(text)


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_as_special(ip: IPv4Address | IPv6Address) -> None:
    """No address passes that the standard library calls private, reserved or multicast."""
    if not ip.is_global or ip.is_multicast or ip.is_link_local or ip.is_unspecified:
        mapped = getattr(ip, "ipv4_mapped", None)
        assert not is_public(str(ip)) or (mapped is not None and is_public(str(mapped)))


@settings(deadline=None)
@given(_private_v4())
def test_embedding_does_not_make_an_address_public(ip: IPv4Address) -> None:
    """A private IPv4 address stays refused inside each IPv6 form that can carry one."""
    number = int(ip)
    teredo_client = number ^ 0xFFFFFFFF
    forms = [
        IPv6Address(0xFFFF << 32 | number),  # mapped
        IPv6Address(number),  # compatible
        IPv6Address(0x64FF9B << 96 | number),  # NAT64
        IPv6Address(0x64FF9B0001 << 80 | number),  # NAT64 of one network
        IPv6Address(0x2002 << 112 | number << 80 | 1),  # 6to4
        IPv6Address(0x20010000 << 96 | number << 64 | 0xF7F7F7F7),  # Teredo, its server
        IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | teredo_client),  # Teredo, its client
    ]
    assert not is_public(str(ip))
    assert [form for form in forms if is_public(str(form))] == []


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_embedded_public_addresses_are_public(address: str) -> None:
    """A public IPv4 host can be reached by the forms that live networks use."""
    assert is_public(address)
