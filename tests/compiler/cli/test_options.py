"""Durations, rates and shapes as users write them."""

from __future__ import annotations

import math

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.compiler.cli.options import Duration, Rate, Shape


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("35ms", 0.035), ("5s", 5.0), ("1.5s", 1.5), ("200us", 2e-4), (".5 ms", 5e-4), ("3µs", 3e-6)],
)
def test_a_duration_is_read_with_its_unit(text, seconds):
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["35", "ms", "", "0ms", "-5ms", "1e3s", "5 min", "5mss", "nan s", "infs", "٣ms", "1,5s"]
)
def test_a_bad_duration_is_a_usage_error_with_examples(text):
    with pytest.raises(click.BadParameter, match=r"write 35ms, 1\.5s or 200us"):
        Duration().convert(text, None, None)


@given(st.integers(1, 10**6), st.sampled_from([("s", 1), ("ms", 1e-3), ("us", 1e-6)]))
def test_every_whole_number_of_a_unit_is_a_duration(number, unit):
    read = Duration().convert(f"{number}{unit[0]}", None, None)
    assert math.isclose(read, number * unit[1])


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "fast", ""])
def test_a_bad_rate_is_a_usage_error_with_an_example(text):
    with pytest.raises(click.BadParameter, match="write 30"):
        Rate().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("x=1,3,224,224", ("x", (1, 3, 224, 224))),
        ("a=b:0=7", ("a=b:0", (7,))),
        ("scalar=", ("scalar", ())),
        ("x=1, 3", ("x", (1, 3))),
    ],
)
def test_a_shape_is_read_with_the_name_of_its_input(text, shape):
    assert Shape().convert(text, None, None) == shape


@pytest.mark.parametrize("text", ["x", "=1,2", "x=1,,2", "x=a", "x=-1", "x=1.5", "x=1,"])
def test_a_bad_shape_is_a_usage_error_with_an_example(text):
    with pytest.raises(click.BadParameter, match="write name=1,3,224,224"):
        Shape().convert(text, None, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--budget", "35"], "'35' is not a duration"),
        (["--fps", "0"], "'0' is not a number of frames per second"),
        (["--shape", "x"], "'x' is not a shape"),
        (["--shape", "x=1", "--shape", "x=2"], "an input is named twice"),
        (["--skip-rewrite", "magic"], "there is no such rewrite. Rewrites: functions,"),
        (["--objective", "beauty"], "'beauty' is not one of 'latency', 'interval', 'energy'"),
        (["--max-stages", "0"], "0 is not in the range x>=1"),
        (["--time-limit", "0s"], "'0s' is not a duration"),
    ],
)
def test_a_bad_option_value_is_told_by_its_name_and_what_to_write(edgeweave, model, options, told):
    said = edgeweave("plan", model, "--board", "rk3588", *options)
    assert (said.status, said.out) == (2, "")
    assert options[0] in said.err
    assert told in said.err


def test_the_board_must_be_named(edgeweave, model):
    said = edgeweave("plan", model)
    assert said.status == 2
    assert "Missing option '--board'" in said.err
