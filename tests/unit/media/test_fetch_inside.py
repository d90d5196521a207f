"""Fetching: nothing reaches inside, by whatever address, name or redirect."""

from typing import Any

import httpcore
import pytest

from moderation.errors import TemporaryFault
from moderation.types import Reason
from tests.unit.media.hosts import BODY, LocalInternet, MakeFetcher, Names, Site, refusal


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1234/", "http://[::1]/", "http://169.254.169.254/", "http://127.1/"]
)
def test_private_addresses_are_refused(url: str, make_fetcher: MakeFetcher) -> None:
    """Without permission no literal private address is fetched from."""
    error = refusal(make_fetcher(), url)
    assert error.reason is Reason.IMAGE_URL_REFUSED


@pytest.mark.parametrize("host", ["inside.example", "mixed.example", "metadata.example"])
def test_names_that_lead_inside_are_refused(
    site: Site, host: str, make_fetcher: MakeFetcher
) -> None:
    """One private address among a name's answers is enough: no connection is opened."""
    internet = LocalInternet(site.port)
    error = refusal(make_fetcher(resolve=Names(), network=internet), f"http://{host}/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == []


def test_localhost_by_name_is_refused(site: Site, make_fetcher: MakeFetcher) -> None:
    """The system's own resolver is checked like any other."""
    error = refusal(make_fetcher(), f"http://localhost:{site.port}/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert site.seen == []


def test_the_connection_goes_to_the_checked_address(site: Site, make_fetcher: MakeFetcher) -> None:
    """A name is looked up once, its answer is dialled, and the Host header keeps the name."""
    names, internet = Names(), LocalInternet(site.port)
    body = make_fetcher(resolve=names, network=internet).fetch("http://public.example/image")
    assert body == BODY
    assert names.asked == ["public.example"]
    assert internet.dialled == ["93.184.216.34"]
    assert site.seen == [("/image", "public.example")]


def test_a_name_that_changes_its_answer_gains_nothing(
    site: Site, make_fetcher: MakeFetcher
) -> None:
    """With DNS rebinding, each connection goes to a checked address or is not opened."""
    turns = iter([["93.184.216.34"], ["127.0.0.1"]])
    names, internet = Names(lambda _: next(turns)), LocalInternet(site.port)
    fetcher = make_fetcher(resolve=names, network=internet)
    assert fetcher.fetch("http://rebind.example:8001/image") == BODY
    error = refusal(fetcher, "http://rebind.example:8002/image")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == ["93.184.216.34"]


@pytest.mark.parametrize(
    "target",
    ["http://inside.example/x", "http://127.0.0.1/x", "//metadata.example/", "http://[::1]/x"],
)
def test_a_redirect_inside_is_refused(site: Site, target: str, make_fetcher: MakeFetcher) -> None:
    """The second hop is checked like the first."""
    internet = LocalInternet(site.port)
    fetcher = make_fetcher(resolve=Names(), network=internet)
    error = refusal(fetcher, f"http://public.example/to?{target}")
    assert error.reason is Reason.IMAGE_URL_REFUSED
    assert internet.dialled == ["93.184.216.34"]


def test_a_second_address_is_tried(site: Site, make_fetcher: MakeFetcher) -> None:
    """A name with a dead address is still reached over its live one."""

    class FirstIsDead(LocalInternet):
        def connect_tcp(self, host: str, *rest: Any, **more: Any) -> httpcore.NetworkStream:
            if host == "93.184.216.34":
                raise httpcore.ConnectError("unreachable")
            return super().connect_tcp(host, *rest, **more)

    names = Names(lambda _: ["93.184.216.34", "93.184.216.35"])
    fetcher = make_fetcher(resolve=names, network=FirstIsDead(site.port))
    assert fetcher.fetch("http://two.example/image") == BODY


def test_a_name_without_addresses_is_temporary(site: Site, make_fetcher: MakeFetcher) -> None:
    """An empty answer counts as a name server's bad minute."""
    fetcher = make_fetcher(resolve=Names(), network=LocalInternet(site.port))
    assert isinstance(refusal(fetcher, "http://none.example/"), TemporaryFault)
