"""A bounded queue between two threads that can end, fail, and drop what is stale."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Finished(Exception):
    """The other side is done."""


class Channel(Generic[T]):
    """From one producer to one consumer, in order.

    Args:
        size: how many items may wait.
        latest: a full channel drops its oldest item instead of making the producer wait.
    """

    def __init__(self, size: int, latest: bool = False) -> None:
        self.dropped = 0
        self._size = size
        self._latest = latest
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: T, timeout: float | None = None) -> None:
        """Hand an item over, waiting for room.

        Raises:
            Finished: the consumer has gone.
            TimeoutError: there was no room for ``timeout`` seconds; the item was not taken.
        """
        with self._changed:
            while len(self._items) >= self._size and not self._ended:
                if self._latest:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    if not self._changed.wait(timeout):
                        raise TimeoutError
            if self._ended:
                raise Finished
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """The next item.

        Raises:
            Finished: there will be no more.
            TimeoutError: nothing came within ``timeout`` seconds.
            BaseException: whatever the producer failed with, after the items before it.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._ended, timeout):
                raise TimeoutError
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
            raise error or Finished

    def finish(self, error: BaseException | None = None) -> None:
        """The producer's end: no more items will come, because of ``error`` if given."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The consumer's end: forget what waits, and turn the producer away."""
        with self._changed:
            self._items.clear()
            self._ended = True
            self._changed.notify_all()
