"""Token vectors are compressed without training, and their products stay close to exact ones."""

from typing import Any

import numpy as np
import pytest

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.index.token_codes import LEVELS, TokenCodec, require_bits, usual_bits


def unit_rows(count: int, dimension: int, seed: int = 1) -> Any:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dimension", [384, 128, 96, 20, 3, 1])
@pytest.mark.parametrize("bits", list(LEVELS))
def test_rotated_vectors_have_the_same_products(dimension: int, bits: int) -> None:
    codec, rows = TokenCodec(dimension, bits), unit_rows(30, dimension)
    turned = codec.rotated(rows)
    assert turned @ turned.T == pytest.approx(rows @ rows.T, abs=1e-5)
    assert codec.encoded(rows).shape == (30, codec.width)
    assert codec.decoded(codec.encoded(rows)).shape == turned.shape


@pytest.mark.parametrize(("bits", "most"), [(1, 0.045), (2, 0.023), (4, 0.007)])
def test_products_with_codes_are_unbiased_and_close(bits: int, most: float) -> None:
    codec, rows, queries = TokenCodec(384, bits), unit_rows(300, 384), unit_rows(40, 384, 2)
    rows[:40] = queries + 0.5 * rows[:40]
    rows[:40] /= np.linalg.norm(rows[:40], axis=1, keepdims=True)
    errors = codec.rotated(queries) @ codec.decoded(codec.encoded(rows)).T - queries @ rows.T
    assert errors.std() < most
    assert abs(errors.mean()) < most / 20
    own = (codec.rotated(rows) * codec.decoded(codec.encoded(rows))).sum(axis=1)
    assert own == pytest.approx(np.ones(300), abs=1e-3)


def test_codes_are_signs_and_their_factor_as_in_rabitq() -> None:
    codec, rows = TokenCodec(16, 1), 3 * unit_rows(5, 16)
    turned = codec.rotated(rows)
    signs = np.where(turned > 0, 0.7979, -0.7979)
    factors = (turned**2).sum(axis=1) / (signs * turned).sum(axis=1)
    assert codec.decoded(codec.encoded(rows)) == pytest.approx(signs * factors[:, None], rel=1e-3)
    assert (np.unpackbits(codec.encoded(rows)[:, :2], axis=1) == (turned > 0)).all()


def test_a_vector_has_the_same_codes_in_any_company() -> None:
    codec, rows = TokenCodec(384, 1), unit_rows(200, 384)
    alone = np.concatenate([codec.encoded(rows[at : at + 1]) for at in range(200)])
    together = codec.encoded(rows)
    # A value next to zero may get another sign by rounding.
    assert np.unpackbits(alone ^ together, axis=1)[:, :384].sum() <= 5


def test_a_vector_of_zeros_matches_nothing() -> None:
    codec = TokenCodec(8, 2)
    assert not codec.decoded(codec.encoded(np.zeros((2, 8), np.float32))).any()


def test_the_usual_bits_give_a_vector_at_least_32_bytes() -> None:
    assert [usual_bits(size) for size in (768, 384, 256, 128, 96, 64, 32)] == [1, 1, 1, 2, 4, 4, 4]


@pytest.mark.parametrize("bits", [0, 3, 8, -1])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(InvalidArgumentError, match="1, 2, 4 bits a dimension"):
        require_bits(bits)


@pytest.mark.parametrize("bits", list(LEVELS))
def test_no_vectors_and_huge_ones(bits: int) -> None:
    codec = TokenCodec(20, bits)
    none = codec.encoded(np.zeros((0, 20), np.float32))
    assert none.shape == (0, codec.width)
    assert codec.decoded(none).shape == (0, codec.rotated(np.zeros((1, 20), np.float32)).shape[1])
    huge = codec.encoded(np.full((1, 20), 1e7, np.float32))
    assert np.isfinite(codec.decoded(huge)).all()
