"""Every document has a unique id, the same after several runs as after one."""

from collections.abc import Sequence

from hypothesis import given, strategies as st

from ettin_cli.indexing.document_ids import DocumentIds

# Names and ids that can be prefixes of each other.
NAMES = st.lists(st.sampled_from(["x", "y", "x-2"]), min_size=1, max_size=4)
DOC_ID = st.sampled_from(["a", "b", "x/a", "y/a", "x-2/a", "x/x/a", "x-3/a", ""])
Corpus = Sequence[Sequence[str]]


def corpora(sources: int) -> st.SearchStrategy[list[list[str]]]:
    documents = st.lists(DOC_ID, unique=True, max_size=6)
    return st.lists(documents, min_size=sources, max_size=sources)


def claimed(names: Sequence[str], corpus: Corpus) -> list[list[str | None]]:
    ids = DocumentIds(names)
    return [
        [ids.claim(one, source) for one in documents] for source, documents in enumerate(corpus)
    ]


@given(st.data(), NAMES)
def test_no_document_is_lost_and_no_id_is_given_twice(
    data: st.DataObject, names: list[str]
) -> None:
    corpus = data.draw(corpora(len(names)))
    given_out = [one for documents in claimed(names, corpus) for one in documents]
    assert None not in given_out
    assert len(set(given_out)) == len(given_out)


@given(st.data(), NAMES)
def test_an_id_is_kept_or_has_its_source_s_name_before_it(
    data: st.DataObject, names: list[str]
) -> None:
    corpus = data.draw(corpora(len(names)))
    seen: set[str] = set()
    for name, documents, given_out in zip(names, corpus, claimed(names, corpus), strict=True):
        for doc_id, one in zip(documents, given_out, strict=True):
            assert one is not None
            if doc_id not in seen:
                assert one == doc_id
            else:
                assert one.startswith(name)
                assert one.endswith(f"/{doc_id}")
            seen.add(one)


@given(st.data(), NAMES)
def test_an_update_gives_the_ids_that_a_fresh_start_gives(
    data: st.DataObject, names: list[str]
) -> None:
    old = data.draw(corpora(len(names)))
    new = data.draw(corpora(len(names)))
    known = claimed(names, old)
    ids = DocumentIds(names, before=len(names))
    found = []
    for source, documents in enumerate(new):
        before = dict(zip(old[source], known[source], strict=True))
        found.append([again(ids, before.get(one), one, source) for one in documents])
    assert found == claimed(names, new)


@given(st.data(), NAMES.filter(lambda names: len(names) > 1))
def test_taking_a_source_away_takes_its_prefixes_away(
    data: st.DataObject, names: list[str]
) -> None:
    corpus = data.draw(corpora(len(names)))
    known = claimed(names, corpus)
    ids = DocumentIds(names[1:], before=len(names))
    found = [
        [again(ids, before, one, source) for before, one in zip(given_out, documents, strict=True)]
        for source, (given_out, documents) in enumerate(zip(known[1:], corpus[1:], strict=True))
    ]
    assert found == claimed(names[1:], corpus[1:])


def again(ids: DocumentIds, known: str | None, doc_id: str, source: int) -> str | None:
    """Claim an id as the pipeline does: the recorded one, else a new one."""
    if known is not None and ids.claim_again([known], source):
        return known
    return ids.claim(doc_id, source)


@given(DOC_ID, NAMES)
def test_the_second_of_a_source_s_own_is_refused(doc_id: str, names: list[str]) -> None:
    ids = DocumentIds(names)
    for source in range(len(names)):
        assert ids.claim(doc_id, source) is not None
        assert ids.claim(doc_id, source) is None
    assert [ids.claim(doc_id, source) for source in range(len(names))] == [None] * len(names)


def test_a_file_s_ids_are_claimed_again_together_or_not_at_all() -> None:
    ids = DocumentIds(["x", "y"])
    assert ids.claim_again(["a", "b"], 0)
    assert not ids.claim_again(["c", "b"], 1)
    assert ids.claim("c", 1) == "c"
    assert ids.claim("b", 1) == "y/b"


def test_a_single_source_is_not_read_again_for_names_like_its_own() -> None:
    assert DocumentIds(["docs"], before=1).claim_again(["docs/a.md"], 0)
    assert not DocumentIds(["docs"], before=2).claim_again(["docs/a.md"], 0)
    assert not DocumentIds(["docs", "x"]).claim_again(["docs-7/a.md"], 0)
    assert DocumentIds(["docs", "x"]).claim_again(["docs-old/a.md"], 0)
