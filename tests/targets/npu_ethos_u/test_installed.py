"""What is said of packages that are not there."""

import sys

import pytest

from edgeweave.targets.npu_ethos_u.installed import litert_version, missing, vela_version


def test_nothing_is_missing_where_both_are_installed():
    assert missing() == ""
    assert vela_version()[0].isdigit()
    assert litert_version()[0].isdigit()


@pytest.mark.usefixtures("nothing_installed")
def test_the_sentence_names_both_and_the_extra():
    assert missing() == "Vela and LiteRT are not installed: pip install 'edgeweave[ethos-u]'"
    assert vela_version() == litert_version() == "not installed"


def test_the_sentence_names_the_one_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ethosu", None)
    assert missing() == "Vela is not installed: pip install 'edgeweave[ethos-u]'"
