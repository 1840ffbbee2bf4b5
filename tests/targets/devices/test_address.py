"""HOST:PORT and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.targets.devices.address import Address, parse_address
from edgeweave.targets.devices.faults import InvalidAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:9090", Address("10.0.0.5", 9090)),
        (" rack-07.lab:1\n", Address("rack-07.lab", 1)),
        ("[fe80::1%eth0]:65535", Address("fe80::1%eth0", 65535)),
    ],
)
def test_host_and_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rack-07", "is not HOST:PORT"),
        ("", "is not HOST:PORT"),
        (":9090", "is not HOST:PORT"),
        ("::1:9090", "is not HOST:PORT"),
        ("a b:9090", "is not HOST:PORT"),
        ("http://rack:9090", "is not HOST:PORT"),
        ("rack:-1", "is not HOST:PORT"),
        ("rack:\N{ARABIC-INDIC DIGIT ONE}", "is not HOST:PORT"),
        ("rack:" + "9" * 5000, "is not HOST:PORT"),
        ("rack:0", "has no port between 1 and 65535"),
        ("rack:65536", "has no port between 1 and 65535"),
        ("a" * 254 + ":1", "has a host name that is too long"),
    ],
)
def test_anything_else_is_an_error_with_an_example(text: str, reason: str) -> None:
    with pytest.raises(InvalidAddress, match=r"Write it like 10\.0\.0\.5:9090") as caught:
        parse_address(text)
    assert caught.value.reason == reason
    assert str(caught.value).isprintable()


@given(st.text(max_size=40) | st.from_regex(r"[\[\w.:%-]*\]?:[0-9]+"))
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    told = ""
    try:
        address = parse_address(text)
        assert parse_address(str(address)) == address
    except InvalidAddress as error:
        told = str(error)
    assert told.isprintable()
