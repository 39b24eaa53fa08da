"""Values in memory, the least recently used of which are forgotten."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


class LRU(Generic[_Value]):
    """Values up to a number of bytes. Threads may share it; a pickled copy is empty.

    Example:
        >>> lru = LRU(10)
        >>> lru.put("a", "first", 6), lru.put("b", "second", 6), lru.get("a"), lru.get("b")
        (None, None, None, 'second')
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._num_bytes = 0
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> _Value | None:
        """Return the value, `None` if it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: _Value, num_bytes: int) -> None:
        """Keep a value, at the price of the least recently used ones; one that is too large is not kept."""
        with self._lock:
            if num_bytes > self.max_bytes or key in self._values:
                return
            self._values[key] = (value, num_bytes)
            self._num_bytes += num_bytes
            while self._num_bytes > self.max_bytes:
                _, (_, freed) = self._values.popitem(last=False)
                self._num_bytes -= freed

    def __reduce__(self) -> tuple[Any, ...]:
        return LRU, (self.max_bytes,)
