"""Where sequences are tracked: one after the other, in worker processes on this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ..errors import MissingExtra, UserError
from ..process import use_one_opencv_thread
from .results import SequenceResult
from .runner import Advance, Executor, Make, SingleTargetTracker, serial, track_sequence
from .sequence import Sequence

_RETRIES = 5  # times Ray starts a sequence again after its worker died
_EVERY = 10  # frames between two reports of a worker


@contextmanager
def open_executor(jobs: int = 1, address: str | None = None, threads: int | None = None) -> Iterator[Executor]:
    """Give the executor that a user asked for: a cluster if there is an address, else processes if there are several.

    A cluster is joined before the block begins and left at its end.

    Args:
        jobs: Number of sequences tracked at once on this machine.
        address: Address of a Ray cluster, see :func:`ray_cluster`; None for this machine.
        threads: CPU threads of one tracker on a cluster; None is 1.

    Raises:
        MissingExtra: Ray is asked for and not installed.
        UserError: ``jobs`` is below 1, several jobs are asked for beside a cluster, or the cluster cannot be reached.
    """
    if address is not None:
        if jobs != 1:
            raise UserError(
                "--jobs is for this machine and --ray for a cluster, which counts its own workers: give one."
            )
        with ray_cluster(address, threads or 1) as executor:
            yield executor
    else:
        yield serial if jobs == 1 else process_pool(jobs)


def process_pool(jobs: int) -> Executor:
    """Make an executor of worker processes on this machine.

    Args:
        jobs: Number of processes.

    Raises:
        UserError: ``jobs`` is below 1; or, while it runs, a worker met an error or died.
    """
    if jobs < 1:
        raise UserError(f"--jobs is a number of processes, at least 1, not {jobs}.")

    def run(sequences: list[Sequence], make: Make, advance: Advance) -> Iterator[tuple[Sequence, SequenceResult]]:
        context = multiprocessing.get_context("spawn")  # forking a process with runtime threads can deadlock
        reports: Any = context.Queue()
        pool = ProcessPoolExecutor(min(jobs, len(sequences)), context, _start_worker, (make, reports))
        try:
            pending = {pool.submit(_work, s): s for s in longest_first(sequences)}
            while pending:
                done, _ = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                _drain(reports, advance)
                for future in done:
                    yield pending.pop(future), _result(future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        _drain(reports, advance)

    return run


def longest_first(sequences: list[Sequence]) -> list[Sequence]:
    """Sort sequences in the order that keeps workers busy to the end."""
    return sorted(sequences, key=lambda s: -len(s.frames))


_worker: dict[str, Any] = {}


def _start_worker(make: Make, reports: Any) -> None:
    use_one_opencv_thread()
    _worker.update(make=make, reports=reports)


def _work(sequence: Sequence) -> SequenceResult | str:
    """Return the result, or the message of a user error (not every exception can be pickled)."""
    frames = 0

    def advance(count: int) -> None:
        nonlocal frames
        frames += count
        if frames >= _EVERY:
            _worker["reports"].put(frames)
            frames = 0

    try:
        if "tracker" not in _worker:
            _worker["tracker"] = _worker["make"]()
        result = track_sequence(sequence, _worker["tracker"], advance)
    except UserError as error:
        return str(error)
    _worker["reports"].put(frames)
    return result


def _drain(reports: Any, advance: Advance) -> None:
    while not reports.empty():
        advance(reports.get())


def _result(future: Future[SequenceResult | str]) -> SequenceResult:
    try:
        result = future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps for lack of memory; finished sequences are kept: "
            "run the same command again with fewer --jobs."
        ) from error
    if isinstance(result, str):
        raise UserError(result)
    return result


@contextmanager
def ray_cluster(address: str, threads: int = 1) -> Iterator[Executor]:
    """Join a Ray cluster and give its executor; a sequence whose worker dies is tracked again by another worker.

    The dataset and the bundle must lie under the same paths on every node; results come back through Ray.

    Args:
        address: ``local`` starts a cluster on this machine, ``auto`` joins the one this machine belongs to; anything
            else is the address of a cluster (``host:6379`` or ``ray://host:10001``).
        threads: Number of CPUs that a sequence needs.

    Raises:
        MissingExtra: Ray is not installed.
        UserError: The cluster cannot be reached; or, while it runs, a worker met an error or workers keep dying.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--ray", "ray", "ray") from error

    def run(sequences: list[Sequence], make: Make, advance: Advance) -> Iterator[tuple[Sequence, SequenceResult]]:
        remote = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_track_there)
        maker = ray.put(make)
        pending = {remote.remote(s, maker): s for s in longest_first(sequences)}
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            sequence = pending.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayError as error:
                raise UserError(f"Ray could not track {sequence.name} ({type(error).__name__}: {error}).") from error
            if isinstance(result, str):
                raise UserError(result)
            advance(len(sequence.frames))
            yield sequence, result

    started = not ray.is_initialized()
    if started:
        _join(ray, address)
    try:
        yield run
    finally:
        if started:
            ray.shutdown()


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"no Ray cluster at '{address}' ({reason}): start one with  ray start --head, or give --ray local."
        ) from error


@lru_cache(maxsize=1)
def _made(make: Make) -> SingleTargetTracker:
    use_one_opencv_thread()
    return make()


def _track_there(sequence: Sequence, make: Make) -> SequenceResult | str:
    try:
        return track_sequence(sequence, _made(make))
    except UserError as error:
        return str(error)
