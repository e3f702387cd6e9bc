"""Engines that track several sequences at once: worker processes here, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any

import cv2

from ..errors import MissingExtra, UserError
from .results import Result
from .runner import Engine, OneTarget, Tick, in_turn, track
from .sequence import Sequence

Make = Callable[[], OneTarget]
_RETRIES = 5  # times Ray starts a sequence again after its worker died
_TICK = 10  # frames between two signs of life of a worker


def engine(jobs: int = 1, address: str | None = None, threads: int | None = None) -> Engine:
    """The engine for what a user asked for: a cluster if there is an address, else processes if there are several.

    Raises:
        MissingExtra: Ray is asked for and not installed.
        UserError: ``jobs`` is below 1, or several jobs are asked for beside a cluster, which has its own number.
    """
    if address is not None:
        if jobs != 1:
            raise UserError(
                "--jobs is for this machine and --ray for a cluster, which counts its own workers: give one."
            )
        return cluster(address, threads or 1)
    return in_turn if jobs == 1 else processes(jobs)


def processes(jobs: int) -> Engine:
    """An engine of ``jobs`` worker processes on this machine.

    Raises:
        UserError: while it runs: a worker met one, or died.
    """
    if jobs < 1:
        raise UserError(f"--jobs is a number of processes, at least 1, not {jobs}.")

    def run(sequences: list[Sequence], make: Make, tick: Tick) -> Iterator[tuple[Sequence, Result]]:
        context = multiprocessing.get_context("spawn")  # forking a process with runtime threads can deadlock
        signs: Any = context.Queue()
        pool = ProcessPoolExecutor(min(jobs, len(sequences)), context, _start_worker, (make, signs))
        try:
            pending: dict[Future[Result | str], Sequence] = {pool.submit(_work, s): s for s in longest_first(sequences)}
            while pending:
                done, _ = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                _drain(signs, tick)
                for future in done:
                    yield pending.pop(future), _result(future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        _drain(signs, tick)

    return run


def longest_first(sequences: list[Sequence]) -> list[Sequence]:
    """The order that keeps workers busy to the end."""
    return sorted(sequences, key=lambda s: -len(s.frames))


_worker: dict[str, Any] = {}


def _start_worker(make: Make, signs: Any) -> None:
    cv2.setNumThreads(1)
    _worker.update(make=make, signs=signs)


def _work(sequence: Sequence) -> Result | str:
    """The result, or the message of a user error (exceptions do not all survive the way between processes)."""
    frames = 0

    def tick(count: int) -> None:
        nonlocal frames
        frames += count
        if frames >= _TICK:
            _worker["signs"].put(frames)
            frames = 0

    try:
        if "tracker" not in _worker:
            _worker["tracker"] = _worker["make"]()
        result = track(sequence, _worker["tracker"], tick)
    except UserError as error:
        return str(error)
    _worker["signs"].put(frames)
    return result


def _drain(signs: Any, tick: Tick) -> None:
    while not signs.empty():
        tick(signs.get())


def _result(future: Future[Result | str]) -> Result:
    try:
        result = future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps for want of memory; finished sequences are kept: "
            "run the same command again with fewer --jobs."
        ) from error
    if isinstance(result, str):
        raise UserError(result)
    return result


def cluster(address: str, threads: int = 1) -> Engine:
    """An engine on a Ray cluster; a sequence whose worker dies is tracked again on another.

    The dataset and the bundle must lie under the same paths on every node; results come back through Ray.

    Args:
        address: ``local`` starts a cluster on this machine, ``auto`` joins the one this machine belongs to, else the
            address of one (``host:6379`` or ``ray://host:10001``).
        threads: CPUs a sequence needs.

    Raises:
        MissingExtra: Ray is not installed.
        UserError: while it runs: the cluster cannot be reached, a worker met an error, or workers keep dying.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--ray", "ray", "ray") from error

    def run(sequences: list[Sequence], make: Make, tick: Tick) -> Iterator[tuple[Sequence, Result]]:
        started = not ray.is_initialized()
        if started:
            _join(ray, address)
        try:
            remote = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_track_there)
            maker = ray.put(make)
            pending = {remote.remote(s, maker): s for s in longest_first(sequences)}
            while pending:
                (ready,), _ = ray.wait(list(pending), num_returns=1)
                sequence = pending.pop(ready)
                try:
                    result = ray.get(ready)
                except ray.exceptions.RayError as error:
                    raise UserError(
                        f"Ray could not track {sequence.name} ({type(error).__name__}: {error})."
                    ) from error
                if isinstance(result, str):
                    raise UserError(result)
                tick(len(sequence.frames))
                yield sequence, result
        finally:
            if started:
                ray.shutdown()

    return run


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"no Ray cluster at '{address}' ({reason}): start one with  ray start --head, or give --ray local."
        ) from error


@lru_cache(maxsize=1)
def _made(make: Make) -> OneTarget:
    cv2.setNumThreads(1)
    return make()


def _track_there(sequence: Sequence, make: Make) -> Result | str:
    try:
        return track(sequence, _made(make))
    except UserError as error:
        return str(error)
