"""Duplicate and near-duplicate passages are detected, and no others."""

from hypothesis import given, strategies as st

from ettin_cli.text.duplicates import grouped, nearly_grouped

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=7).map(" ".join), max_size=12)


def runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)} or {tuple(words)}


def compared_one_by_one(texts: list[str]) -> list[list[int]]:
    groups: list[list[int]] = []
    for place, text in enumerate(texts):
        for group in groups:
            one, other = runs(text), runs(texts[group[0]])
            if len(one & other) / len(one | other) >= 0.8:
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


@given(TEXTS)
def test_texts_are_grouped_as_comparing_all_of_them_would(texts: list[str]) -> None:
    assert nearly_grouped(texts) == compared_one_by_one(texts)


def test_case_and_punctuation_make_no_difference() -> None:
    texts = ["All rights reserved.", "all rights, RESERVED", "all rights forgotten", "", "?!"]
    assert nearly_grouped(texts) == [[0, 1], [2], [3, 4]]


@given(st.lists(st.sampled_from("abc")))
def test_equal_keys_are_grouped_in_their_order(keys: list[str]) -> None:
    groups = grouped(keys)
    assert [keys[group[0]] for group in groups] == list(dict.fromkeys(keys))
    assert all(
        group == [at for at, one in enumerate(keys) if one == keys[group[0]]] for group in groups
    )
