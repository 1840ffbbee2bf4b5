"""Run ONNX's backend node tests through edgeweave on this machine, TVM first.

Every model is loaded, cut, checked, planned, built, packed, opened and run. A region goes to
ONNX Runtime only where the cpu backend refuses it, so that TVM's code is what is tested. The exit
status is 0 when no test is wrong, crashes, hangs, or is refused although ONNX Runtime runs it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx_node_case import Bench, Case, Outcome, Result, run_case

TIMEOUT_S = 240.0
_COMMON_IR = 10  # has every element type below 8 bits, and each ONNX Runtime of today reads it


_MEANING = {
    Result.PASS: "all on TVM's code, and the outputs are the shipped ones",
    Result.FALLBACK: "right, and some region went to ONNX Runtime",
    Result.AS_REFERENCE: "ONNX Runtime's outputs, which are not the shipped ones",
    Result.REFUSED: "ONNX Runtime itself does not run it",
}
GOOD = tuple(_MEANING)


def load_cases(match: str = "", newest_opset: int | None = None, bind: bool = False) -> list[Case]:
    """The node tests of the installed onnx whose name the pattern ``match`` is found in.

    Tests of operator sets after ``newest_opset`` are labelled with that one: most of their
    operators are older, and ONNX Runtime looks at none of a set that it does not know. With
    ``bind`` shapes, axes, scales and other short inputs are weights, as they are in real models.
    """
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, while onnx computes the data
        found = load_model_tests(kind="node")
    cases = [
        Case(
            name=test.name,
            model=_labelled(test.model, newest_opset).SerializeToString(),
            data_sets=tuple(
                ([_array(v) for v in given], [_array(v) for v in wanted])
                for given, wanted in test.data_sets or ()
            ),
            rtol=test.rtol,
            atol=test.atol,
        )
        for test in found
        if re.search(match, test.name) and test.model is not None
    ]
    return [bound(case) for case in cases] if bind else cases


def bound(case: Case) -> Case:
    """The test with its inputs of at most one dimension, the first input excepted, as weights."""
    if len(case.data_sets) != 1:
        return case
    proto = onnx.ModelProto.FromString(case.model)
    for info, value in list(zip(proto.graph.input, case.data_sets[0][0], strict=False))[1:]:
        is_short = isinstance(value, (np.ndarray, np.generic)) and value.ndim <= 1
        if is_short and info.type.HasField("tensor_type"):
            weight = numpy_helper.from_array(np.asarray(value), info.name)
            proto.graph.initializer.append(weight)
    return replace(case, model=proto.SerializeToString())


def _labelled(model: onnx.ModelProto, newest: int | None) -> onnx.ModelProto:
    entries = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if newest is not None and any(entry.version > newest for entry in entries):
        model.ir_version = min(model.ir_version, _COMMON_IR)
        for entry in entries:
            entry.version = min(entry.version, newest)
    return model


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def serve(connection: Connection, place: int) -> None:
    """A process that runs the cases sent to it; what it prints is dropped."""
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    warnings.simplefilter("ignore")
    bench = Bench(place)
    try:
        while True:
            case = connection.recv()
            try:
                connection.send(run_case(case, bench))
            except Exception as error:  # noqa: BLE001 - a fault of edgeweave is what we look for
                detail = f"{type(error).__name__}: {str(error)[:300]}"
                connection.send(Outcome(case.name, Result.CRASHED, detail))
    except EOFError:
        bench.close()


class Job:
    """A process that runs tests one after another; it is started anew after a crash."""

    def __init__(self, place: int, queue: Iterator[Case]) -> None:
        self._place, self._queue = place, queue
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # no daemon: it has a child of its own, which ends with it
        self.process = context.Process(target=serve, args=(theirs, self._place))
        self.process.start()
        theirs.close()
        self.case: Case | None = None
        self.next()

    def next(self) -> None:
        """Send the next test; without one the process ends."""
        self.case = next(self._queue, None)
        self.deadline = time.monotonic() + TIMEOUT_S
        if self.case is None:
            self.connection.close()
            self.process.join()
        else:
            self.connection.send(self.case)

    def take(self) -> Outcome:
        """The outcome of the test, once the process answered or ended."""
        case = self.case
        if case is None:
            raise RuntimeError("no test is being run")
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            detail = f"the process ended with status {self.process.exitcode}"
            self._start()
            return Outcome(case.name, Result.CRASHED, detail)
        self.next()
        return outcome

    def give_up(self) -> Outcome:
        """End a test that takes too long."""
        case = self.case
        if case is None:
            raise RuntimeError("no test is being run")
        self.process.kill()
        self.process.join()
        self._start()
        return Outcome(case.name, Result.TIMED_OUT, f"no answer within {TIMEOUT_S:.0f} s")


def run_all(cases: Sequence[Case], jobs: int) -> Iterator[Outcome]:
    """Run the tests in that many processes; outcomes as they come."""
    queue = iter(cases)
    running = [Job(place, queue) for place in range(min(jobs, len(cases)))]
    while busy := [job for job in running if job.case is not None]:
        ready = wait([job.connection for job in busy], timeout=1.0)
        for job in busy:
            if job.connection in ready:
                yield job.take()
            elif time.monotonic() > job.deadline:
                yield job.give_up()


def report(outcomes: Sequence[Outcome], lists: Sequence[str]) -> str:
    """The counts, the reasons of fallbacks, and the tests of each listed result."""
    counts = Counter(outcome.result for outcome in outcomes)
    lines = [f"{counts[r]:5d}  {r.value:38s}{_MEANING.get(r, '')}".rstrip() for r in Result]
    rules = Counter(rule for o in outcomes for rule in {f.split(": ")[1] for f in o.fallbacks})
    lines += [f"       fallback by {rule}: {count} tests" for rule, count in rules.most_common()]
    for outcome in sorted(outcomes, key=lambda o: o.name):
        if outcome.result not in GOOD or outcome.result.value in lists:
            why = "; ".join(part for part in (outcome.detail, *outcome.fallbacks) if part)
            lines.append(f"{outcome.result.value}: {outcome.name}: {why}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--match", default="", help="only tests whose name this pattern is found in"
    )
    parser.add_argument(
        "--newest-opset", type=int, metavar="N", help="label tests of newer operator sets with N"
    )
    parser.add_argument(
        "--bind", action="store_true", help="make shapes, axes and other short inputs constants"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    parser.add_argument(
        "--list", action="append", default=[], metavar="RESULT",
        choices=[result.value for result in Result], help="name the tests with this result",
    )  # fmt: skip
    options = parser.parse_args()
    cases = load_cases(options.match, options.newest_opset, options.bind)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="edgeweave-node-tests-") as cache:
        os.environ["EDGEWEAVE_CACHE_DIR"] = cache
        for outcome in run_all(cases, max(1, options.jobs)):
            outcomes.append(outcome)
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)}/{len(cases)}", end="", file=sys.stderr)
    print(report(outcomes, options.list))
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return 0 if all(outcome.result in GOOD for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
