"""Hits have a probability of relevance if the index is calibrated for the reranker in use."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ettin_cli.models.hub import find_model
from ettin_cli.models.rerankers.embedded import EmbeddedModel
from ettin_cli.records import Candidate, Passage, Scores, Silence
from ettin_cli.searching.calibration.fitting import Calibration
from ettin_cli.searching.calibration.stored import save
from ettin_cli.searching.ranking import SearchOptions, rank
from tests.conftest import Ettin, Outcome
from tests.test_console import drawn
from tests.test_export import answer, hit, written

FERRY = "When does the ferry sail?"
SLOPE, INTERCEPT = 4.0, -6.0
CURVE = Calibration(
    "logistic", {"slope": [SLOPE], "intercept": [INTERCEPT]}, {"logistic": 0.3}, 90, 9, 0.2, []
)
MAX_TOKENS = 256


def curve(score: float) -> float:
    return 1 / (1 + math.exp(-SLOPE * score - INTERCEPT))


@pytest.fixture
def stand_in(ettin: Ettin) -> EmbeddedModel:
    return EmbeddedModel(find_model("embedded", offline=True, reporter=Silence()))


@pytest.fixture
def index(ettin: Ettin, docs: Path, tmp_path: Path) -> Path:
    assert ettin("index", str(docs)).code == 0
    return tmp_path / ".ettin"


def searched(ettin: Ettin, *words: str) -> Outcome:
    # Later words win: without a blend the score is what a calibration maps.
    return ettin("search", FERRY, "-r", "embedded", "--blend", "0", *words)


def hits(ran: Outcome) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ran.out)["hits"]
    return found


# On the command line


def test_every_hit_of_a_calibrated_index_has_its_probability(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    before = hits(searched(ettin))
    assert not any("probability" in hit for hit in before)
    save(index, stand_in, MAX_TOKENS, CURVE)
    after = hits(searched(ettin))
    assert [hit["probability"] for hit in after] == pytest.approx(
        [curve(hit["score"]) for hit in after], abs=1e-5
    )
    assert [hit["score"] for hit in after] == [hit["score"] for hit in before]
    assert len({hit["probability"] for hit in after}) == 3


def test_without_a_reranker_there_is_no_probability(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    save(index, stand_in, MAX_TOKENS, CURVE)
    assert "probability" not in ettin("search", FERRY, "-r", "none").out
    ran = ettin("search", FERRY, "-r", "none", "--min-probability", "0.5")
    assert ran.code == 2
    assert "a minimum probability needs a reranker" in ran.err


def test_a_blend_changes_scores_and_no_probability(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    save(index, stand_in, MAX_TOKENS, CURVE)
    blended = hits(searched(ettin, "--blend", "0.5"))
    for one in blended:
        assert one["probability"] == pytest.approx(curve(one["rerank_score"]), abs=1e-5)
        assert one["score"] != one["rerank_score"]


def test_hits_below_the_least_probability_are_left_out(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    save(index, stand_in, MAX_TOKENS, CURVE)
    everything = hits(searched(ettin, "--min-probability", "0"))
    second = everything[1]["probability"]
    assert hits(searched(ettin, "--min-probability", str(second))) == everything[:2]
    assert hits(searched(ettin, "--min-probability", str(second + 1e-6))) == everything[:1]
    assert searched(ettin, "--min-probability", str(second), "-e").code == 0
    ran = searched(ettin, "--min-probability", "1", "-e")
    assert (ran.code, hits(ran)) == (4, [])
    assert "no hits" in ran.err


def test_a_tenth_of_the_calibration_is_a_tenth_on_the_command_line(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    assert float(np.float32(0.7)) < 0.7
    level = {"scores": [0.0], "probabilities": [0.7]}
    save(index, stand_in, MAX_TOKENS, replace(CURVE, method="isotonic", parameters=level))
    found = hits(searched(ettin, "--min-probability", "0.7"))
    assert [hit["probability"] for hit in found] == [0.7] * 3


@pytest.mark.parametrize("value", ["-0.1", "1.5", "likely"])
def test_a_probability_lies_between_0_and_1(ettin: Ettin, index: Path, value: str) -> None:
    assert searched(ettin, "--min-probability", value).code == 2


def refused(ran: Outcome, problem: str) -> None:
    assert (ran.code, ran.out) == (1, "")
    assert problem in ran.err
    hint = "hint: ettin eval -i .ettin -r embedded --queries FILE --qrels FILE --calibrate\n"
    assert ran.err.endswith(hint)


def test_without_a_calibration_the_command_that_makes_one_is_named(
    ettin: Ettin, index: Path
) -> None:
    ran = searched(ettin, "--min-probability", "0.5")
    refused(ran, ".ettin has no calibration for embedded")


def test_a_calibration_that_does_not_fit_is_refused_or_said(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    save(index, EmbeddedModel(replace(stand_in.files, revision="older")), MAX_TOKENS, CURVE)
    refused(searched(ettin, "--min-probability", "0.5"), "revision older instead of None")
    ran = searched(ettin)
    assert ran.code == 0
    assert "hits have no probability" in ran.err
    assert not any("probability" in hit for hit in hits(ran))


def test_a_lower_token_limit_does_not_fit_the_calibration(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    save(index, stand_in, MAX_TOKENS, CURVE)
    ran = searched(ettin, "--min-probability", "0.5", "--max-length", "64")
    refused(ran, "max_tokens 256 instead of 64")


def test_a_damaged_calibration_is_one_line(
    ettin: Ettin, index: Path, stand_in: EmbeddedModel
) -> None:
    path = save(index, stand_in, MAX_TOKENS, CURVE)
    path.write_text("{")
    refused(
        searched(ettin, "--min-probability", "0.5"), ".ettin/calibrations/embedded.json is damaged"
    )
    ran = searched(ettin)
    assert len(hits(ran)) == 3
    assert "hits have no probability: .ettin/calibrations/embedded.json is damaged" in ran.err


def test_an_index_keeps_its_calibration_when_it_is_rebuilt(
    ettin: Ettin, index: Path, docs: Path, stand_in: EmbeddedModel
) -> None:
    save(index, stand_in, MAX_TOKENS, CURVE)
    (docs / "new.txt").write_text("The ferry sails again at noon.\n")
    assert ettin("index").code == 0
    assert ettin("index", "--rebuild").code == 0
    assert ettin("verify").code == 0
    assert len(hits(searched(ettin, "--min-probability", "0"))) == 4


# In the ranking


CANDIDATES = [Candidate(at, Passage(name, "text"), 0.1 * at) for at, name in enumerate("aab")]
SCORES = Scores(np.array([3, 2, 1], np.float32), np.zeros(3, np.bool_))


def test_a_probability_stays_with_its_passage() -> None:
    found = rank(CANDIDATES, SCORES, SearchOptions(), probabilities=[0.7, 0.8, 0.4])
    assert [(one.passage.doc_id, one.probability) for one in found] == [("a", 0.7), ("b", 0.4)]
    every = rank(CANDIDATES, SCORES, SearchOptions(by="passage"), probabilities=[0.7, 0.8, 0.4])
    assert [one.probability for one in every] == [0.7, 0.8, 0.4]


def test_the_least_probability_is_met_by_equality_and_by_nothing_unknown() -> None:
    options = SearchOptions(min_probability=0.7)
    found = rank(CANDIDATES, SCORES, options, probabilities=[0.7, 0.8, 0.4])
    assert [one.passage.doc_id for one in found] == ["a"]
    assert rank(CANDIDATES, SCORES, options) == []


# In the formats


LIKELY = answer([replace(hit("a", 2.5), probability=0.874), hit("b", 1.0)])


def test_a_row_has_the_probability_where_there_is_one() -> None:
    text = io.StringIO(written("csv", LIKELY).decode(), newline="")
    assert [row["probability"] for row in csv.DictReader(text)] == ["0.874", ""]
    rows = pq.read_table(io.BytesIO(written("parquet", LIKELY))).to_pylist()
    assert [row["probability"] for row in rows] == [0.874, None]
    shapes = json.loads(written("jsonl", LIKELY))["hits"]
    assert (shapes[0]["probability"], "probability" in shapes[1]) == (0.874, False)


def test_the_table_shows_it_after_the_score_and_never_as_certain() -> None:
    lines = drawn(LIKELY).splitlines()
    assert "  2.500   87 %  a.md:3" in lines[0]
    assert "%" not in lines[2]
    chances = {0.9949: "99 %", 0.9999: ">99 %", 0.0049: "<1 %", 0.05: "5 %"}
    for chance, shown in chances.items():
        likely = answer([replace(hit("a", 2.5), probability=chance)])
        assert f" {shown}  a.md:3" in drawn(likely)
