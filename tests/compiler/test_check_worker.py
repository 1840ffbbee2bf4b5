import os
import tempfile
import time

from edgeweave.compiler.check_region import CheckTask, Verdict
from edgeweave.compiler.check_worker import CheckWorker
from edgeweave.compiler.regions import find_regions
from edgeweave.targets.host import detect_host


class Fatal:
    """A task that ends or blocks the process that receives it, as generated code may."""

    backends = ("cpu", "onnxruntime")

    def __init__(self, call, argument):
        self.call = call, argument

    def __reduce__(self):
        function, argument = self.call
        return function, () if argument is None else (argument,)


def add_task(canonical, cache_folder):
    regions = find_regions(canonical("g (float[4] x) => (float[4] y) { y = Add(x, x) }"))
    engine = detect_host(cache_folder).engines[0]
    return CheckTask(regions.graph.regions[0], regions.models[0], engine, ("cpu",), timed=False)


def test_a_crash_is_a_verdict_and_the_next_task_gets_a_new_process(canonical, cache_folder):
    with CheckWorker() as worker:
        (result,) = worker.check(Fatal(os.abort, None))
        assert (result.backend, result.verdict) == ("cpu", Verdict.CRASHED)
        assert result.detail == "killed by signal 6"
        (after,) = worker.check(add_task(canonical, cache_folder))
        assert after.verdict is Verdict.EQUAL


def test_a_process_that_ends_early_is_told_by_its_status():
    with CheckWorker() as worker:
        (result,) = worker.check(Fatal(os._exit, 3))
    assert result.detail == "the process ended with status 3"


def test_a_task_that_takes_too_long_is_ended():
    begin = time.monotonic()
    with CheckWorker(timeout_s=0.2) as worker:
        (result,) = worker.check(Fatal(time.sleep, 600))
    assert result.verdict is Verdict.CRASHED
    assert result.detail.startswith("no answer within")
    assert time.monotonic() - begin < 300


def test_a_worker_nobody_used_starts_no_process_and_closes_twice():
    worker = CheckWorker()
    worker.close()
    worker.close()
    assert worker._process is None


def test_what_a_killed_process_leaves_in_its_temporary_folder_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    task = Fatal(exec, "import os, tempfile; tempfile.mkdtemp(); os.abort()")
    with CheckWorker() as worker:
        (result,) = worker.check(task)
    assert result.detail == "killed by signal 6"
    assert list(tmp_path.iterdir()) == []
