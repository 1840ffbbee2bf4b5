"""What a verdict is tied to."""

from __future__ import annotations

import re

from edgeweave.compiler import code_version as module
from edgeweave.compiler.code_version import code_version
from edgeweave.targets.registry import find_backend


def test_compiled_code_is_tied_to_the_lowering_that_made_it() -> None:
    assert re.fullmatch(r".*apache-tvm .*, code [0-9a-f]{12}", code_version("cpu"))


def test_onnx_runtime_is_tied_to_its_own_versions_alone() -> None:
    assert code_version("onnxruntime") == find_backend("onnxruntime").fingerprint()


def test_a_backend_that_is_not_installed_has_no_version() -> None:
    assert code_version("npu_rknn") == ""


def test_what_a_vendors_compiler_is_given_is_tied_to_the_code_that_writes_it() -> None:
    assert re.fullmatch(r"ethos-u-vela .*, code [0-9a-f]{12}", code_version("npu_ethos_u"))


def test_changed_code_anywhere_below_is_another_version(tmp_path) -> None:
    def digest_of(text: str) -> str:
        (tmp_path / "inner").mkdir(exist_ok=True)
        (tmp_path / "inner" / "lower.py").write_text(text)
        return module._digest([tmp_path])

    assert digest_of("a = 1\n") != digest_of("a = 2\n")
    assert digest_of("a = 1\n") == digest_of("a = 1\n")
