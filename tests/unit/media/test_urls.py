"""URLs as text: which are taken, and what of one is shown."""

from contextlib import suppress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import InputRefused
from moderation.media.urls import MAX_URL_CHARS, check_url, shown


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/cat.jpg",
        "https://example.com",
        "HTTPS://Example.COM/A?b=c#d",
        "https://example.com.:443/x",
        "https://example.com:8443/x",
        "http://example.com:80/",
        "http://8.8.8.8/x",
        "http://[2606:4700:4700::1111]/x",
        "https://münchen.example/straße.jpg",
        "https://a_b.example.com/x",
        "https://cdn.example.com/a%20b.jpg?X-Signature=1%2F2",
        "http://localhost/",
    ],
)
def test_ordinary_urls_pass(url: str) -> None:
    """Web addresses as platforms have them are taken; names are looked up only later."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cat.jpg",
        "//example.com/x",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///x",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: other",
        "http://example.com:22/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:http/",
        "http://a..b/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 130 + "com/",
        "http://exam%70le.com/",
        "http://127.0.0.1%2f/",
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fe80::1%25eth0]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://999.1.1.1/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """Other schemes, credentials, low ports, trick spellings and private addresses are refused."""
    with pytest.raises(InputRefused) as caught:
        check_url(url)
    assert caught.value.field == "image_url"


def test_a_long_url_is_refused() -> None:
    """The limit on length holds to the character."""
    url = "https://example.com/".ljust(MAX_URL_CHARS, "a")
    check_url(url)
    with pytest.raises(InputRefused):
        check_url(url + "a")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/x", "http://[::1]/", "http://10.0.0.1/"])
def test_private_addresses_pass_where_they_are_allowed(url: str) -> None:
    """A closed network may name its own addresses."""
    check_url(url, allow_private=True)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://a.example/", "http://["]))
def test_any_text_is_taken_or_refused(text: str, start: str) -> None:
    """No text whatever makes the check fail in another way."""
    with suppress(InputRefused):
        check_url(start + text)


def test_a_shown_url_keeps_its_secrets() -> None:
    """Query and fragment are left out of messages, and a long path is cut."""
    text = shown(httpx.URL("https://example.com:8443/cat.jpg?signature=secret#secret"))
    assert text == "https://example.com:8443/cat.jpg"
    assert shown(httpx.URL("https://example.com/a%0Ab%1B")).isprintable()
    assert len(shown(httpx.URL("https://example.com/" + "a" * 1000))) <= 120
