"""Durations, sizes and tables for people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.compiler.cli.text import duration, size, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (1.234e-6, "1.23 us"),
        (9.994e-4, "999 us"),
        (9.996e-4, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.1234, "123 ms"),
        (5.0, "5.00 s"),
        (4321.0, "4321 s"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


@given(st.floats(1e-6, 1e4))
def test_a_written_duration_is_within_half_a_percent(seconds):
    number, unit = duration(seconds).split()
    back = float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert math.isclose(back, seconds, rel_tol=5.1e-3)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.00 KiB"), (5 << 20, "5.00 MiB")],
)
def test_a_size_has_the_unit_that_fits(nbytes, text):
    assert size(nbytes) == text


def test_columns_are_wide_enough_and_figures_stand_to_the_right():
    lines = list(table(["name", "time", ""], [["a", "1.00 ms", "x"], ["longer", "-", ""]]))
    assert lines == [
        "  name       time",
        "  a       1.00 ms  x",
        "  longer        -",
    ]


def test_a_table_without_rows_is_nothing():
    assert list(table(["name"], [])) == []
