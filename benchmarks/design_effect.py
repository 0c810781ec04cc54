"""How much less requests tell when they come in runs: the design effect of a share.

Latencies of neighbouring requests resemble each other, so n requests tell less than n independent
ones would, by this factor: the variance of a share over blocks of seconds, over that of independent
requests. Blocks: Schmeiser, Operations Research 30, 1982; Law, Simulation Modeling and Analysis,
chapter 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.series import Counts

FEWEST_BLOCKS = 10
"""With fewer blocks nobody can tell how requests hang together, and nothing is concluded."""

_MOST_CORRELATED = 0.9  # beyond it the correction for correlated blocks is a guess


@dataclass(frozen=True, slots=True)
class Effect:
    """How requests hang together.

    Args:
        size: the design effect, at least 1.
        blocks: of the longest length; one less are the degrees of freedom of `size`.
        correlation: of neighbouring blocks of that length, where `size` was found; near 0 when
            the blocks are long enough.
    """

    size: float
    blocks: int
    correlation: float


def design_effect(
    over: Sequence[Counts], asked: Sequence[Counts], times: float = 1.0
) -> Effect | None:
    """The variance of a share, over that of independent requests.

    The share is a ratio of two sums over blocks (Cochran, Sampling Techniques, 1977, section 6.3).
    Blocks are 1, 2, 4 ... seconds long, while there are FEWEST_BLOCKS; none spans two repetitions.
    The largest of their effects counts. Where neighbours among the longest blocks still resemble
    each other, with correlation r, longer ones would show more by about (1 + r) / (1 - r), the
    factor of a process whose correlation fades geometrically (Law, chapter 4).

    Args:
        over: for each repetition, how many exceeded in each second; shape (S,).
        asked: of how many; shape (S,).
        times: by how much what the effect has over 1 is drawn up.

    Returns:
        None where there are fewer than FEWEST_BLOCKS seconds with requests. An effect of 1 where
        none or all exceeded: then there is nothing to see.
    """
    total = sum(int(n.sum()) for n in asked)
    found = sum(int(x.sum()) for x in over) / max(total, 1)
    independent = total * found * (1 - found)
    size, blocks, correlation, latest = 1.0, 0, 0.0, 1.0
    longest = max((len(n) for n in asked), default=0)
    for length in (2**i for i in range((longest - 1).bit_length() + 1)):
        sizes = [_sums(n, length) for n in asked]
        if (count := sum(int(np.count_nonzero(n)) for n in sizes)) < FEWEST_BLOCKS:
            break
        excess = [_sums(x, length) - found * n for x, n in zip(over, sizes, strict=True)]
        squares = sum(float(one @ one) for one in excess)
        latest = squares * count / (count - 1) / independent if independent else 0.0
        size, blocks = max(size, latest), count
        correlation = _correlation(excess, squares / count)
    if not blocks:
        return None
    inflated = latest * (1 + correlation) / (1 - correlation)
    return Effect(1 + (max(size, inflated) - 1) * times, blocks, correlation)


def _sums(counts: Counts, length: int) -> Counts:
    """Sums over blocks of at least so many seconds, as even as they come; shape (S // length,)."""
    blocks = max(len(counts) // length, 1)
    begins = np.arange(min(blocks, len(counts))) * len(counts) // blocks
    return np.add.reduceat(counts, begins) if len(counts) else counts


def _correlation(excess: Sequence[np.ndarray[Any, Any]], variance: float) -> float:
    """Of neighbouring blocks; between 0 and _MOST_CORRELATED."""
    pairs = sum(len(one) - 1 for one in excess)
    if pairs < 1 or variance <= 0:
        return 0.0
    products = sum(float(one[1:] @ one[:-1]) for one in excess)
    return min(max(products / pairs / variance, 0.0), _MOST_CORRELATED)
