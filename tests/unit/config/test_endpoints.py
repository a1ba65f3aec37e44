"""Addresses of endpoints: one form to compare, and none with a secret in it."""

import pytest

from spti_ray.config.endpoints import is_sent_in_clear, normal_endpoint


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Host.Example/v1/", "https://host.example/v1"),
        ("https://host:443/v1", "https://host/v1"),
        ("http://host:443/V1", "http://host:443/V1"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_one_endpoint_has_one_address(url, normal):
    assert normal_endpoint(url) == normal
    assert normal_endpoint(normal) == normal


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush@host/v1", "https://hush@host/v1", "https://host/v1?key=hush", "https://host/v1#hush",
        "ftp://host/hush", "host/hush", "https:///hush", "http://host:hush/v1", "http://host /hush", "", "http://[hush",
    ],
)  # fmt: skip
def test_what_is_no_address_or_holds_a_secret_is_refused_without_being_repeated(url):
    with pytest.raises(ValueError) as caught:
        normal_endpoint(url)
    assert "hush" not in str(caught.value) and caught.value.__cause__ is None


def test_plain_http_that_leaves_the_machine_can_be_read_on_the_way():
    for endpoint in ("http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]/v1", "https://host/v1"):
        assert not is_sent_in_clear(endpoint)
    assert is_sent_in_clear("http://host/v1") and is_sent_in_clear("http://128.0.0.1/v1")
