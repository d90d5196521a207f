"""Which network addresses an untrusted URL may reach: the public internet and nothing else.

Source: IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890 and updates).
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

# `is_global` of an older Python lacks rows of the registry (192.0.0.192, a cloud's metadata
# service, is global to 3.11.7), so the rows are here and `is_global` is asked as well.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; also a cloud's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host agent, on an address that is formally public
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)

# The only space from which public IPv6 addresses are given out; all else is special.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols, with Teredo, which carries IPv4 addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries IPv4 addresses; switched off by RFC 7526
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
# With DNS64, an IPv6-only host reaches the IPv4 internet through this prefix.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Say whether `address`, as text, is one host of the public internet.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64) is as public as that. Text
    that is no address is not public.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public_v4(ip.ipv4_mapped)
        if ip in _NAT64:
            return _is_public_v4(IPv4Address(ip.packed[-4:]))
        return (
            ip in _GLOBAL_UNICAST
            and ip.is_global
            and not any(ip in network for network in _REFUSED_V6)
        )
    return _is_public_v4(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not any(ip in network for network in _REFUSED_V4)
