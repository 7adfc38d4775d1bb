"""The collections of mteb are those of mteb, and so are their figures.

python -m tests.clients.environments FOLDER mteb_tasks
ETTIN_CLIENTS=FOLDER pytest -m clients tests/test_mteb_parity.py
"""

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.collections import COLLECTIONS, family
from ettin_cli.models import embedded_folder
from tests.clients.environments import HERE, MTEB, python_of
from tests.conftest import Ettin
from tests.dataset_repositories import arguana
from tests.hub_server import Hub
from tests.models import ettin as ettin_model

# Read before a fixture removes the variables of the user.
CLIENTS = os.environ.get("ETTIN_CLIENTS")
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(CLIENTS is None, reason="needs ETTIN_CLIENTS"),
]

# The task of mteb with the data of a collection of BEIR.
BEIR_TASKS = {
    "arguana": "ArguAna",
    "climate-fever": "ClimateFEVER",
    "dbpedia-entity": "DBPedia",
    "fever": "FEVER",
    "fiqa": "FiQA2018",
    "hotpotqa": "HotpotQA",
    "msmarco": "MSMARCO",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "quora": "QuoraRetrieval",
    "scidocs": "SCIDOCS",
    "scifact": "SciFact",
    "trec-covid": "TRECCOVID",
    "webis-touche2020": "Touche2020",
}


def asked(request: dict[str, Any]) -> Any:
    """Return the answer of the program in mteb's environment."""
    python = python_of(Path(CLIENTS or ""), MTEB)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        # Modules beside the program have the names of packages.
        [str(python), "-P", str(HERE / "mteb_tasks.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**environment, "HF_HUB_OFFLINE": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_tasks_of_the_benchmark_are_those_of_mteb() -> None:
    names = [one.name.removeprefix("mteb/") for one in family("mteb")]
    assert asked({"about": "benchmark", "name": "MTEB(eng, v2)"}) == sorted(names, key=names.index)
    facts = asked({"about": "facts", "names": names})
    for name in names:
        one = COLLECTIONS[f"mteb/{name}"]
        assert facts[name] == {
            "repository": one.repository,
            "revision": one.revision,
            "splits": [one.split],
            "licence": one.licence,
            "instruction": one.instruction,
            "ignores_own": one.ignores_own,
        }


def test_the_collections_of_beir_have_the_settings_of_mteb() -> None:
    facts = asked({"about": "facts", "names": list(BEIR_TASKS.values())})
    for name, task in BEIR_TASKS.items():
        one = COLLECTIONS[f"beir/{name}"]
        expected = {key: facts[task][key] for key in ("licence", "instruction", "ignores_own")}
        assert expected == {
            "licence": one.licence,
            "instruction": one.instruction,
            "ignores_own": one.ignores_own,
        }
        assert facts[task]["splits"] == [one.split]


def test_figures_are_those_of_mteb(ettin: Ettin, tmp_path: Path) -> None:
    folder = tmp_path / "reranker"
    folder.mkdir()
    reranker = ettin_model(folder, hidden=64, layers=2, heads=2)
    repositories = arguana()
    [files] = [one.files for one in repositories.values()]
    with Hub(repositories) as hub:
        hub.serve(ettin.monkeypatch, tmp_path)
        metrics = "nDCG@10,RR@10,AP@100,R@5,P@3,Success@1"
        words = ("--retriever", "dense", "-r", str(reranker), "-c", "10", "--metrics", metrics)
        out = tmp_path / "out"
        done = ettin("eval", "mteb/ArguAna", *words, "--device", "cpu", "-o", str(out))
        assert done.code == 0, done.err
    tables = {
        name: [json.loads(line) for line in bytes(files[name][:]).splitlines()]
        for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.jsonl")
    }
    renamed = [
        [{"id" if key == "_id" else key: value for key, value in row.items()} for row in rows]
        for rows in (tables["corpus.jsonl"], tables["queries.jsonl"])
    ]
    qrels: dict[str, dict[str, int]] = {}
    for row in tables["qrels/test.jsonl"]:
        qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    answer = asked(
        {
            "about": "figures",
            "task": "ArguAna",
            "corpus": renamed[0],
            "queries": renamed[1],
            "qrels": qrels,
            "embedder": str(embedded_folder()),
            "reranker": str(reranker),
            "depth": 10,
        }
    )
    theirs = {
        "nDCG@10": "ndcg_cut_10",
        "AP@100": "map_cut_100",
        "R@5": "recall_5",
        "P@3": "P_3",
        "Success@1": "success_1",
    }
    lines = (out / "queries.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * 8
    for row in rows:
        of = "retrieved" if row["reranker"] == "none" else "reranked"
        for ours, name in theirs.items():
            value = answer[of][row["query_id"]][name]
            assert float(row[ours]) == pytest.approx(value, abs=1e-6)
