"""Many windows of one series at once, as rows of a matrix; no row depends on another.

A record has thousands of windows of the same few lengths. Windows of one length are taken together,
so that a statistic of all of them costs a few calls, and each is what it would be alone, to the
bit. What is done with rows of different lengths goes by chunks, so that memory does not grow with
the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_MOST_VALUES = 1 << 16
"""Values in a chunk: a matrix of so many is half a megabyte."""


def alike(*keys: Indices) -> Iterator[Indices]:
    """Places at which all keys (n,) are the same, a group at a time, by rising keys."""
    if not len(keys[0]):
        return
    order = np.lexsort(keys[::-1])
    turns = [np.diff(key[order]) != 0 for key in keys]
    yield from np.split(order, np.flatnonzero(np.logical_or.reduce(turns)) + 1)


def rows(value: Array, first: Indices, length: int) -> Array:
    """(n, length): the values from each of ``first`` (n,) on."""
    taken: Array = sliding_window_view(value, length)[first]
    return taken


def extremes(value: Array, first: Indices, last: Indices) -> tuple[Array, Array]:
    """Least and largest value of windows [first, last), none of which is empty, (n,) each."""
    if len(last) and int(last.max()) >= len(value):
        value = np.append(value, value[-1])
    edges = np.column_stack((first, last)).ravel()
    return np.minimum.reduceat(value, edges)[::2], np.maximum.reduceat(value, edges)[::2]


def same_length(first: Indices, last: Indices) -> Iterator[tuple[Indices, int]]:
    """Places of windows [first, last) of one length, and that length; none that are empty."""
    length = last - first
    for places in alike(length):
        number = int(length[places[0]])
        if number > 0:
            yield from ((part, number) for part in chunks(places, number))


class Padded(NamedTuple):
    """Windows of different lengths side by side."""

    places: Indices
    """Which windows they are, (n,)."""
    inside: NDArray[np.bool_]
    """(n, m): whether a value belongs to its window, or stands after its end."""
    first: Indices

    def of(self, value: Array) -> Array:
        """(n, m): the values of a series; after the end of a window whatever follows there."""
        width = self.inside.shape[1]
        short = int(self.first.max()) + width - len(value)
        if short > 0:
            value = np.concatenate((value, np.zeros(short)))
        return rows(value, self.first, width)


def padded(first: Indices, last: Indices) -> Iterator[Padded]:
    """All windows [first, last) that are not empty, chunk by chunk, the short ones first."""
    length = last - first
    order = np.argsort(length, kind="stable")
    order = order[length[order] > 0]
    while len(order):
        # As many as fit with the length of the last of them.
        fits = np.arange(1, len(order) + 1) * length[order] <= _MOST_VALUES
        count = max(int(fits.argmin()) if not fits.all() else len(order), 1)
        places, order = order[:count], order[count:]
        width = int(length[places[-1]])
        yield Padded(places, np.arange(width) < length[places, None], first[places])


def chunks(places: Indices, length: int) -> Iterator[Indices]:
    """Places of rows of one length, so many at a time that memory stays bounded."""
    size = max(_MOST_VALUES // length, 1)
    for at in range(0, len(places), size):
        yield places[at : at + size]
