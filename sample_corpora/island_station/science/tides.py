"""Estimate the height of the tide at the east landing, between two tide-table entries.

The rule of twelfths is good enough to plan a landing. It is not good enough to navigate by.
"""

from math import cos, pi

LANDING_NEEDS_METRES = 1.4
DRYING_HEIGHT_OF_CAUSEWAY = 2.1


def height(hours_since_low: float, low: float, high: float, duration: float = 6.2) -> float:
    """Return the height above chart datum, in metres, on a rising tide.

    A cosine runs through low and high water, which the rule of twelfths approximates.

    >>> round(height(3.1, low=0.6, high=3.4), 2)
    2.0
    """
    share = (1 - cos(pi * hours_since_low / duration)) / 2
    return low + share * (high - low)


def landing_possible(hours_since_low: float, low: float, high: float) -> bool:
    """Tell whether the Petrel can lie alongside the east landing, keel clear of the rocks."""
    return height(hours_since_low, low, high) >= LANDING_NEEDS_METRES


def causeway_is_dry(hours_since_low: float, low: float, high: float) -> bool:
    """Tell whether one can walk to the tidal islet; leave a margin of half an hour at both ends."""
    return height(hours_since_low, low, high) < DRYING_HEIGHT_OF_CAUSEWAY
