"""A bounded queue between two threads that can end, fail, and drop what is stale."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Finished(Exception):
    """The other side has ended."""


class Channel(Generic[T]):
    """Hands items from one producer to one consumer, in order.

    Args:
        size: Number of items that may wait.
        latest: Whether a full channel drops its oldest item instead of making the producer wait.

    Attributes:
        dropped: Number of items that were dropped.
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

        Args:
            item: The item.
            timeout: Longest wait in seconds; None waits for as long as it takes.

        Raises:
            Finished: The consumer has gone.
            TimeoutError: There was no room in time; the item was not taken.
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
        """Take the next item.

        Args:
            timeout: Longest wait in seconds; None waits for as long as it takes.

        Raises:
            Finished: There will be no more items.
            TimeoutError: Nothing came in time.
            BaseException: What the producer failed with, after the items before it.
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
        """End the producer's side: no more items will come, because of ``error`` if it is given."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def cancel(self) -> None:
        """End the consumer's side: forget the items that wait, and turn the producer away."""
        with self._changed:
            self._items.clear()
            self._ended = True
            self._changed.notify_all()
