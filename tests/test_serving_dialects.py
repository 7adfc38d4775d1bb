"""The body of a rerank request tells which service its client speaks to."""

from typing import Any

import pytest

from ettin_cli.serving.answers import Ranked, rerank_answer
from ettin_cli.serving.dialects import pairs_of, rerank_request
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.scores import Scale

ASKED: dict[str, Any] = {"query": "q", "documents": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("body", "dialect", "top_n", "returned"),
    [
        (ASKED, "cohere", None, False),
        ({**ASKED, "top_n": 2, "return_documents": True}, "cohere", 2, True),
        ({**ASKED, "top_n": None, "return_documents": "true"}, "cohere", None, True),
        ({**ASKED, "top_n": 0}, "cohere", None, False),
        ({**ASKED, "top_k": 2, "truncation": True}, "voyage", 2, False),
        ({**ASKED, "truncation": True}, "voyage", None, False),
        ({**ASKED, "raw_scores": False}, "infinity", None, False),
        ({"query": "q", "texts": ["a"], "return_text": True, "top_n": 1}, "tei", 1, True),
        ({"query": "q", "input": ["a"], "top_k": 1, "return_input": True}, "mixedbread", 1, True),
    ],
)
def test_a_body_tells_its_dialect(
    body: dict[str, Any], dialect: str, top_n: int | None, returned: bool
) -> None:
    asked = rerank_request(body)
    assert (asked.dialect, asked.top_n, asked.return_texts) == (dialect, top_n, returned)


@pytest.mark.parametrize(
    ("given", "fields", "text"),
    [
        ("a", None, "a"),
        ({"text": "b", "title": "t"}, None, "b"),
        ({"text": "b", "title": "t"}, ["title", "text"], "t\nb"),
        ({"name": "x", "n": 3}, None, "name: x\nn: 3"),
        ({"text": 5}, None, "text: 5"),
    ],
)
def test_documents_may_be_objects(given: object, fields: list[str] | None, text: str) -> None:
    body = {"query": "q", "documents": [given], "rank_fields": fields}
    assert rerank_request(body).texts == [text]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"documents": ["a"]}, 400, "`query` must be a string, not null"),
        ({"query": " ", "documents": ["a"]}, 400, "`query` is empty"),
        ({"query": "q"}, 400, "`documents` must be a list of texts, not null"),
        ({"query": "q", "documents": "a"}, 400, "`documents` must be a list of texts"),
        ({"query": "q", "documents": []}, 400, "`documents` is empty"),
        ({"query": "q", "texts": []}, 400, "`texts` is empty"),
        ({"query": "q", "documents": ["a", 5]}, 400, "`documents[1]` must be a string"),
        ({"query": "q", "documents": ["a"] * 6}, 413, "6 texts, more than 5"),
        ({"query": "q" * 40_000, "documents": ["a"]}, 413, "more than 32,768 characters"),
        ({**ASKED, "top_n": -1}, 400, "`top_n` must be a whole number of at least 0, not -1"),
        ({**ASKED, "top_n": True}, 400, "`top_n` must be a whole number, not a boolean"),
        ({**ASKED, "model": 5}, 400, "`model` must be a string"),
        ({**ASKED, "return_documents": "yes"}, 400, "`return_documents` must be true or false"),
        ({"query": "\ud800", "documents": ["a"]}, 400, "half of a surrogate pair"),
        ({**ASKED, "rank_fields": "a"}, 400, "`rank_fields` must be a list of strings"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        rerank_request(body, 5)
    assert caught.value.status == status
    assert message in caught.value.message
    told = caught.value.body()
    assert told["message"] == told["detail"] == told["error"]["message"] == caught.value.message
    assert caught.value.body(tei=True)["error"] == caught.value.message


def answer(body: dict[str, Any], **more: Any) -> Any:
    asked = rerank_request(body)
    scale = Scale(more.pop("scale", "sigmoid"))
    ranked = {"model": "m", "values": [0.0, 2.0, 2.0], "scale": scale, "cut": (), "tokens": 9}
    return rerank_answer(asked, Ranked(**{**ranked, **more}))


def test_answers_have_the_shape_that_clients_read() -> None:
    cohere = answer(
        {**ASKED, "top_n": 2, "return_documents": True, "odd": 1}, cut=(1,), warnings=["w"]
    )
    [high] = Scale("sigmoid").of([2.0])
    assert cohere["results"] == [
        {"index": 1, "relevance_score": high, "document": {"text": "b"}, "truncated": True},
        {"index": 2, "relevance_score": high, "document": {"text": "c"}},
    ]
    assert cohere["object"] == "rerank"
    assert cohere["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert cohere["meta"]["warnings"] == ["w"]
    # Clients fail on a document that is null, so it is left out.
    assert "document" not in answer(ASKED)["results"][0]
    infinity = answer({**ASKED, "raw_scores": True, "return_documents": True}, scale="raw")
    assert infinity["results"][0] == {"index": 1, "relevance_score": 2.0, "document": "b"}
    voyage = answer({**ASKED, "top_k": 1, "return_documents": True})
    assert voyage["data"] == [{"index": 1, "relevance_score": high, "document": "b"}]
    tei = answer({"query": "q", "texts": ["a", "b", "c"]})
    assert tei == [
        {"index": 1, "score": high},
        {"index": 2, "score": high},
        {"index": 0, "score": 0.5},
    ]


def test_fields_without_effect_are_named() -> None:
    asked = rerank_request({**ASKED, "instruction": "be kind", "relevant_spans": None})
    assert asked.warnings == ["no effect: `instruction`"]


@pytest.mark.parametrize("scale", ["sigmoid", "raw"])
def test_a_scale_keeps_the_order(scale: str) -> None:
    values = [-1e9, -800.0, -12.5, -1.0, 0.0, 0.5, 11.9, 12.0]
    on_scale = Scale(scale).of(values)
    assert on_scale == sorted(on_scale)
    assert scale == "raw" or 0 <= min(on_scale) <= max(on_scale) <= 1


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        ({"text_1": "q", "text_2": ["a", "b"]}, [("q", "a"), ("q", "b")]),
        ({"queries": ["q", "r"], "documents": ["a", "b"]}, [("q", "a"), ("r", "b")]),
        ({"data_1": "q", "data_2": "a"}, [("q", "a")]),
    ],
)
def test_pairs_are_one_query_with_many_texts_or_as_many(
    body: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    assert list(zip(*pairs_of(body, 10), strict=True)) == pairs


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(ProblemError, match="equally long, not 2 and 3"):
        pairs_of({"text_1": ["q", "r"], "text_2": ["a", "b", "c"]}, 10)
