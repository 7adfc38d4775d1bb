"""Compress token vectors to a few bits a dimension, without training.

A fixed rotation spreads the information evenly over the dimensions, which makes their values nearly
normal whatever the model, so one table of levels fits all. Each vector also keeps the factor that
makes its product with its own code exact, which removes the bias of the levels (RaBitQ, Gao and
Long, 2024). Since nothing is fitted, equal texts have equal codes in every index, and an update
needs no earlier data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.runtime import product

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Bytes = NDArray[np.uint8]

# The positive levels that quantise a standard normal variable with the least square error, by bits
# (Max, "Quantizing for minimum distortion", 1960); the others are their negatives.
LEVELS: dict[int, tuple[float, ...]] = {
    1: (0.7979,),
    2: (0.4528, 1.5104),
    4: (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326),
}
FACTOR_BYTES = 2
# Bits that a vector should have at least, in the default.
ENOUGH_BITS = 256


def require_bits(bits: int) -> None:
    """Check a number of bits a dimension.

    Raises:
        InvalidArgumentError: It is not one of LEVELS.
    """
    if bits not in LEVELS:
        raise InvalidArgumentError(
            f"token vectors have {', '.join(map(str, LEVELS))} bits a dimension, not {bits}",
            argument="token_vectors",
            value=bits,
            choices=tuple(map(str, LEVELS)),
        )


def usual_bits(dimension: int) -> int:
    """Return the fewest bits a dimension that give a vector of this dimension enough bits.

    >>> usual_bits(384), usual_bits(128), usual_bits(96)
    (1, 2, 4)
    """
    return next((bits for bits in LEVELS if bits * dimension >= ENOUGH_BITS), max(LEVELS))


@dataclass(frozen=True)
class TokenCodec:
    """The compression of token vectors.

    Args:
        dimension: Dimension of a token vector.
        bits: Bits a dimension: 1, 2 or 4.
    """

    dimension: int
    bits: int

    @property
    def width(self) -> int:
        """Bytes of a compressed vector: its codes, and its factor as a half-precision number."""
        return -(-self.dimension * self.bits // 8) + FACTOR_BYTES

    @property
    def columns(self) -> int:
        """Dimension of a decoded vector: that of a token vector, filled up to whole bytes."""
        return (self.width - FACTOR_BYTES) * 8 // self.bits

    @cached_property
    def _rotation(self) -> Floats:
        """An orthogonal matrix, the same on every machine; extra columns are 0.

        Two rounds of random signs and a discrete cosine transform.
        """
        import numpy as np

        size = self.dimension
        along = np.arange(size)
        transform = np.cos(np.pi / size * (along[:, None] + 0.5) * along) * np.sqrt(2 / size)
        transform[:, 0] /= np.sqrt(2)
        rotation = np.eye(size)
        for number in range(2):
            drawn = hashlib.shake_256(f"token vectors {number}".encode()).digest(size)
            signs = 1.0 - 2.0 * (np.frombuffer(drawn, np.uint8) & 1)
            rotation = rotation * signs @ transform
        return np.pad(rotation, ((0, 0), (0, self.columns - size))).astype(np.float32)

    @cached_property
    def _levels(self) -> Floats:
        import numpy as np

        positive = np.array(LEVELS[self.bits], np.float32)
        return np.concatenate([-positive[::-1], positive])

    @cached_property
    def _of_bytes(self) -> Floats:
        """The levels that each byte stands for: shape (256, 8 / bits)."""
        import numpy as np

        shifts = np.arange(8 - self.bits, -1, -self.bits)
        numbers = (np.arange(256)[:, None] >> shifts) & (2**self.bits - 1)
        levels: Floats = self._levels[numbers]
        return levels

    def rotated(self, vectors: Floats) -> Floats:
        """Return vectors in the space of decoded ones: shape (count, columns)."""
        return product(vectors, self._rotation)

    def encoded(self, vectors: Floats) -> Bytes:
        """Return compressed vectors: shape (count, width)."""
        import numpy as np

        turned = self.rotated(vectors)
        squares = np.square(turned).sum(axis=1)
        spread = np.sqrt(np.maximum(squares, np.finfo(np.float32).tiny) / self.dimension)
        levels = self._levels
        middles = (levels[1:] + levels[:-1]) / 2
        numbers = np.searchsorted(middles, turned / spread[:, None])
        products = (levels[numbers] * turned).sum(axis=1)
        factors = np.divide(squares, products, out=np.zeros_like(products), where=products > 0)
        shifts = np.arange(8 - self.bits, -1, -self.bits)
        grouped = numbers.reshape(len(vectors), self.columns // len(shifts), len(shifts)) << shifts
        codes = grouped.sum(axis=2).astype(np.uint8)
        halves = factors.clip(max=np.finfo(np.float16).max).astype("<f2")[:, None].view(np.uint8)
        return np.concatenate([codes, halves], axis=1)

    def decoded(self, compressed: Bytes) -> Floats:
        """Return vectors whose products with rotated vectors are nearly exact."""
        import numpy as np

        codes = np.ascontiguousarray(compressed[:, :-FACTOR_BYTES])
        factors = np.ascontiguousarray(compressed[:, -FACTOR_BYTES:]).view("<f2")
        values = np.take(self._of_bytes, codes, axis=0, mode="clip")
        vectors: Floats = values.reshape(len(codes), self.columns)
        vectors *= factors.astype(np.float32)
        return vectors
