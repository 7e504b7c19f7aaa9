"""Work done ahead of whoever asks for its results: in threads, bounded, in order, the same whatever the threads.

Decoding (PIL, libjpeg, zlib), hashing and torch release Python's lock, so threads run beside each other and beside an
encoder, without copying pixels between processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 16


def decode_workers() -> int:
    """Threads that decode images, where nobody says how many: one a usable CPU, at most 16."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)


def ordered(function: Callable[[T], R], items: Iterable[T], workers: int, depth: int | None = None) -> Iterator[R]:
    """``function`` of every item, in the order of the items, computed ahead of the consumer.

    Items are drawn in a thread of their own. An exception of ``items`` or ``function`` is raised at its place in the
    order. A consumer that stops early stops the threads, and closes ``items`` if it is a generator.

    Args:
      function: Called from several threads at once.
      items: Drawn from one thread.
      workers: Threads; 0 computes each result when it is asked for, in the consumer's thread.
      depth: Most results under way or waiting for the consumer; 2 a worker where None.
    """
    if workers < 1:
        yield from map(function, items)
        return
    room, stopped = Semaphore(depth or 2 * workers), Event()
    results: SimpleQueue[Future[R] | None] = SimpleQueue()
    with ThreadPoolExecutor(workers, "ahead") as pool:
        feeder = Thread(target=_feed, args=(function, items, pool, results, room, stopped), daemon=True)
        feeder.start()
        try:
            while (future := results.get()) is not None:
                yield future.result()
                room.release()
        finally:
            stopped.set()
            room.release()  # the feeder may be waiting for it
            feeder.join()
            pool.shutdown(wait=True, cancel_futures=True)


def _feed(
    function: Callable[[T], R],
    items: Iterable[T],
    pool: ThreadPoolExecutor,
    results: SimpleQueue[Future[R] | None],
    room: Semaphore,
    stopped: Event,
) -> None:
    """Submit items while there is room; an exception of ``items`` becomes the last result."""
    try:
        for item in items:
            room.acquire()
            if stopped.is_set():
                break
            results.put(pool.submit(function, item))
    except BaseException as error:  # raised again in the consumer's thread
        failed: Future[R] = Future()
        failed.set_exception(error)
        results.put(failed)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
        results.put(None)
