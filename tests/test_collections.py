"""Public collections are found by name, downloaded once, and read as mteb and the hub do."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from ettin_cli.collections import COLLECTIONS, OpenCollection, family, named, open_collection
from ettin_cli.collections.fetching import LISTINGS
from ettin_cli.collections.layout import card_metadata, configurations, files_of, layout_of
from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError
from ettin_cli.models import remember_fact
from tests.dataset_repositories import arguana, beir, beir_as_jsonl, card, jsonl, nanobeir, tsv
from tests.hub_server import Fault, Hub, Repository
from tests.indexes import Notices

NANO = "datasets/sentence-transformers/NanoBEIR-en"


@pytest.fixture(scope="module")
def stored() -> dict[str, Repository]:
    repositories = {**beir("scifact"), **beir_as_jsonl("fiqa"), **arguana()}
    return {**repositories, NANO: Repository(nanobeir())}


@pytest.fixture
def hub(
    stored: dict[str, Repository], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Hub]:
    with Hub(stored) as hub:
        hub.serve(monkeypatch, tmp_path)
        yield hub


def opened(name: str, *, offline: bool = False, notices: Notices | None = None) -> OpenCollection:
    return open_collection(name, offline=offline, reporter=notices or Notices())


def problem(collection: OpenCollection) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        assert collection.queries
        assert collection.corpus
    return caught.value


def test_a_collection_has_its_documents_queries_and_judgements(hub: Hub) -> None:
    found = opened("beir/scifact")
    assert [path.name for path in found.corpus] == [
        "corpus-00000-of-00002.parquet",
        "corpus-00001-of-00002.parquet",
    ]
    assert [query.query_id for query in found.queries] == [f"q{at}" for at in range(6)]
    assert found.qrels["q3"] == {"d3": 1, "d6": 2}
    train = opened("beir/scifact:train")
    assert [query.query_id for query in train.queries] == [f"q{at}" for at in range(6, 12)]
    assert train.name == "beir/scifact:train"


def test_layouts_give_the_same(hub: Hub) -> None:
    one, other = opened("beir/scifact"), opened("BEIR/fiqa")
    assert other.name == "beir/fiqa"
    assert (one.queries, one.qrels) == (other.queries, other.qrels)
    assert [path.name for path in other.corpus] == ["corpus.jsonl.gz"]


def test_what_is_cached_needs_no_request(hub: Hub) -> None:
    first = opened("mteb/ArguAna")
    assert (len(first.queries), len(first.corpus)) == (8, 1)
    asked = hub.asked()
    # A description, and each file; nothing twice.
    gets = [one for one in hub.asked("GET") if "agent-harnesses" not in one]
    assert [one.rpartition("/")[2] for one in gets] == [
        COLLECTIONS["mteb/ArguAna"].revision,
        *("README.md", "test.jsonl", "queries.jsonl", "corpus.jsonl"),
    ]
    again = opened("mteb/ArguAna", offline=True)
    assert (again.queries, again.qrels, again.corpus) == (first.queries, first.qrels, first.corpus)
    online = opened("mteb/ArguAna")
    assert online.queries == first.queries
    assert hub.asked() == asked


def test_only_the_split_that_is_needed_is_downloaded(hub: Hub) -> None:
    found = opened("nanobeir/msmarco")
    assert len(found.candidates().texts) == 16
    assert len(found.queries) == 4
    parquet = {one.rpartition("/")[2] for one in hub.asked("HEAD") if "parquet" in one}
    assert parquet == {"NanoMSMARCO-00000-of-00001.parquet"}


def test_a_licence_is_said_before_the_download(hub: Hub) -> None:
    notices = Notices()
    assert opened("nanobeir/msmarco", notices=notices).corpus
    assert notices.said[0] == ("nanobeir/msmarco: licence msr-la-nc, which forbids commercial use")
    assert notices.said[1].startswith("downloading corpus/NanoMSMARCO")
    assert opened("nanobeir/fiqa2018").licence == "no licence is stated"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("beir/scifct", ["beir/scifact"]),
        ("mteb/fiqa", ["mteb/FiQA2018"]),
        ("beir/zzz", [one.name for one in family("beir")]),
        ("mteb", [one.name for one in family("mteb")]),
        ("beir/cqadupstack", [one.name for one in family("beir/cqadupstack")]),
    ],
)
def test_a_name_nobody_has_gets_the_nearest(name: str, nearest: list[str]) -> None:
    with pytest.raises(CorpusError) as caught:
        named(name)
    assert caught.value.code == "unknown-collection"
    assert set(nearest) <= set(caught.value.fields["nearest"])
    assert nearest[0] in (hint_of(caught.value) or "")


def test_a_split_that_is_missing_is_named_with_those_there_are(hub: Hub) -> None:
    error = problem(opened("beir/scifact:dev"))
    assert error.problem == (
        "beir/scifact: BeIR/scifact-qrels has no split 'dev'; it has test, train"
    )
    assert hint_of(error) == "beir/scifact:test, beir/scifact:train"


def test_a_remembered_commit_that_is_gone_is_asked_for_again(
    hub: Hub, stored: dict[str, Repository]
) -> None:
    name = "datasets/BeIR/scifact"
    assert opened("beir/scifact").queries
    newer = hub.repositories[name] = Repository({**stored[name].files, "more.txt": b""})
    notices = Notices()
    found = opened("beir/scifact", notices=notices)
    assert len(found.corpus) == 2
    assert newer.commit in found.origin
    [told] = [one for one in notices.said if one.endswith("; reading the newest")]
    assert told.startswith("the hub no longer has the commit ")


def test_a_gated_data_set_says_where_to_ask(hub: Hub, stored: dict[str, Repository]) -> None:
    hub.repositories["datasets/BeIR/scifact"] = Repository(
        stored["datasets/BeIR/scifact"].files, gated=True
    )
    error = problem(opened("beir/scifact"))
    assert error.code == "collection-gated"
    assert "https://huggingface.co/datasets/BeIR/scifact" in (hint_of(error) or "")


def test_a_repository_that_is_gone_is_named(hub: Hub) -> None:
    error = problem(opened("beir/nfcorpus"))
    assert error.code == "collection-gone"
    assert "BeIR/nfcorpus" in error.problem


def test_half_of_it_cached_is_not_enough_offline(hub: Hub) -> None:
    assert opened("beir/scifact").queries
    error = problem(opened("beir/scifact", offline=True))
    assert error.problem == (
        "corpus/corpus-00000-of-00002.parquet of the dataset BeIR/scifact is not on this machine, "
        "and the network is disabled"
    )
    assert "copy the caches here" in (hint_of(error) or "")
    error = problem(opened("beir/fiqa", offline=True))
    assert error.problem == (
        "the dataset BeIR/fiqa-qrels is not on this machine, and the network is disabled"
    )


def test_a_download_that_fails_is_resumed(hub: Hub) -> None:
    hub.faults = [Fault("GET cdn/.*", status=500)]
    collection = opened("beir/scifact")
    error = problem(collection)
    assert error.code == "hub-failed"
    assert error.problem == (
        "downloading queries/queries-00000-of-00001.parquet of the dataset BeIR/scifact failed: "
        "the hub failed (500 Internal Server Error); try again later"
    )
    hub.faults.clear()
    before = len(hub.asked("GET"))
    assert opened("beir/scifact").queries
    assert not [one for one in hub.asked("GET")[before:] if "test.tsv" in one]


def test_a_disk_that_fills_up_in_the_middle_is_said_in_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(repository: str, name: str, **options: Any) -> str:
        if name.startswith("corpus/corpus-00000"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return str(download(repository, name, **options))

    with monkeypatch.context() as patched:
        download = huggingface_hub.hf_hub_download
        patched.setattr("huggingface_hub.hf_hub_download", full)
        error = problem(opened("beir/scifact"))
    assert error.code == "cache-unwritable"
    assert error.problem.startswith("cannot write the cache of huggingface_hub, ")
    assert error.problem.endswith(
        "/hub: No space left on device (for corpus/corpus-00000-of-00002.parquet)"
    )
    assert "run the same command to resume" in (hint_of(error) or "")
    before = len(hub.asked())
    assert len(opened("beir/scifact").corpus) == 2
    asked, transferred = hub.asked()[before:]
    assert asked.endswith("corpus-00000-of-00002.parquet")
    assert transferred.startswith("GET cdn/")


def test_a_hub_that_limits_requests_says_when_to_try_again(hub: Hub) -> None:
    hub.faults = [Fault("GET /api/datasets/", status=429, headers={"Retry-After": "30"})]
    error = problem(opened("beir/scifact"))
    assert "429 Too Many Requests" in error.problem
    assert error.problem.endswith("try again in 30 s")
    assert error.code == "hub-busy"


SCIFACT = "the dataset BeIR/scifact"
QRELS = "test.tsv of the dataset BeIR/scifact-qrels"
SENT = "HEAD .*/BeIR/scifact-qrels/"


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (
            Fault(SENT, 401, message="Invalid credentials in Authorization header"),
            "token-rejected",
            f"downloading {QRELS} failed: the hub rejects the token (401 Unauthorized)",
        ),
        (
            Fault(SENT, 403, {"X-Error-Code": "GatedRepo"}),
            "collection-gated",
            f"{SCIFACT}-qrels is gated, and no token was sent (for test.tsv)",
        ),
        (
            Fault(SENT, 403, message="Access to this resource is disabled."),
            "collection-denied",
            f"the hub denies access to {SCIFACT}-qrels: Access to this resource is disabled. "
            "(for test.tsv)",
        ),
        (
            Fault(SENT, 404, {"X-Error-Code": "EntryNotFound"}),
            "dataset-download-failed",
            f"downloading {QRELS} failed: 404 Not Found",
        ),
        (
            Fault(SENT, 404, {"X-Error-Code": "RepoNotFound"}),
            "collection-gone",
            "the hub has no dataset BeIR/scifact-qrels, or it is private (for test.tsv)",
        ),
        (
            Fault(SENT, 429, {"Retry-After": "90"}),
            "hub-busy",
            f"downloading {QRELS} failed: the hub limits requests from here "
            "(429 Too Many Requests); try again in 90 s",
        ),
        (
            Fault(SENT, 503),
            "hub-failed",
            f"downloading {QRELS} failed: the hub failed (503 Service Unavailable); "
            "try again later",
        ),
    ],
)
def test_a_refusal_of_a_file_is_told_as_for_models(
    hub: Hub, fault: Fault, code: str, said: str
) -> None:
    assert opened("beir/scifact").commits
    # Only the file itself is refused.
    assert opened("beir/scifact")._layout_of_judgements
    hub.faults = [fault]
    error = problem(opened("beir/scifact"))
    assert (error.code, error.problem) == (code, said)
    assert hint_of(error)


def test_a_cache_that_is_read_only_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(repository: str, name: str, **options: Any) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/cache/blobs")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", denied)
    error = problem(opened("beir/scifact"))
    assert error.code == "cache-unwritable"
    assert error.problem.endswith("/hub: Permission denied (for README.md)")


def test_files_of_two_commits_are_never_mixed(hub: Hub, stored: dict[str, Repository]) -> None:
    name = "datasets/BeIR/scifact"
    collection = opened("beir/scifact")
    assert collection.queries
    gone = hub.repositories[name].commit
    newer = hub.repositories[name] = Repository({**stored[name].files, "more.txt": b""})
    error = problem(collection)
    assert error.code == "collection-changed"
    assert error.problem == f"the hub no longer has the commit {gone} of {SCIFACT}"
    assert "reads the newest commit" in (hint_of(error) or "")
    again = opened("beir/scifact")
    assert again.corpus
    assert again.commits["BeIR/scifact"] == newer.commit


def test_the_commits_of_another_process_are_read(hub: Hub, stored: dict[str, Repository]) -> None:
    found = opened("beir/scifact").commits
    name = "datasets/BeIR/scifact"
    hub.repositories[name].move({**stored[name].files, "more.txt": b""})
    remember_fact(LISTINGS, "BeIR/scifact@main", None)
    other, pinned = opened("beir/scifact"), opened("beir/scifact")
    assert other.commits != found
    pinned.pin(found)
    assert pinned.commits == found
    other.pin(found)
    assert other.commits == found
    assert other.corpus


def test_judgements_of_other_layouts_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [{"query-id": "q 1", "corpus-id": "d1", "score": score} for score in (2, 1)]
    files = beir("scifact")
    qrels = Repository({"test.tsv": tsv(rows)})
    with Hub({**files, "datasets/BeIR/scifact-qrels": qrels}) as hub:
        hub.serve(monkeypatch, tmp_path)
        assert opened("beir/scifact").qrels == {"q%201": {"d1": 1}}


@pytest.mark.parametrize("text", ["many", "", "0.9", "inf", "nan"])
def test_a_judgement_that_is_no_integer_is_reported_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    qrels = Repository({"test.tsv": tsv([{"query-id": "q", "corpus-id": "d", "score": text}])})
    with Hub({**beir("scifact"), "datasets/BeIR/scifact-qrels": qrels}) as hub:
        hub.serve(monkeypatch, tmp_path)
        assert "test.tsv:2: relevance" in problem(opened("beir/scifact")).problem


@pytest.mark.parametrize("name", ["query-id", "corpus-id"])
@pytest.mark.parametrize("value", [None, "", [None]])
def test_a_judgement_without_an_id_is_reported_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: object
) -> None:
    rows = [{"query-id": "q", "corpus-id": 0}, {"query-id": 0, "corpus-id": "d", name: value}]
    qrels = Repository({"test.jsonl": jsonl(rows)})
    with Hub({**beir("scifact"), "datasets/BeIR/scifact-qrels": qrels}) as hub:
        hub.serve(monkeypatch, tmp_path)
        assert problem(opened("beir/scifact")).problem.endswith(f"test.jsonl:2: no {name}")


FILES = ["README.md", "a/x-00000-of-00002.parquet", "a/x-00001-of-00002.parquet", "b/test.tsv"]


@pytest.mark.parametrize(
    "data_files",
    [
        "a/x-*",
        ["a/x-00000-of-00002.parquet", "a/x-00001-of-00002.parquet"],
        [{"split": "train", "path": "a/x-*"}],
        [{"split": "train", "path": ["./a/x-0000?-*"]}],
        {"train": "a/*.parquet"},
        "**/*.parquet",
        "a/**",
    ],
)
def test_the_forms_of_data_files_are_read(data_files: object) -> None:
    layout = layout_of(FILES, {"configs": [{"config_name": "corpus", "data_files": data_files}]})
    assert layout["corpus"] == {"train": FILES[1:3]}
    assert layout["b"] == {"test": ["b/test.tsv"]}


def test_two_stars_match_across_folders() -> None:
    names = [".gitattributes", "README.md", "a.parquet", "a/b/c.parquet", "a/b/d.json"]
    for glob, found in {
        "**": names[2:],
        "**/*.parquet": names[2:4],
        "a/**/*.json": names[4:],
        "a/**/b/*.json": names[4:],
        "a/*.json": [],
    }.items():
        layout = configurations(names, {"configs": [{"config_name": "x", "data_files": glob}]})
        assert layout.get("x", {}) == ({"train": found} if found else {})


def test_the_folder_of_a_configuration_is_read() -> None:
    names = ["en/notes.csv", "en/part-0.parquet", "en/test-00000-of-00001.parquet", "fr/a.csv"]
    one = {"config_name": "one", "data_dir": "./en/"}
    configs = [one, {**one, "config_name": "two", "data_files": {"dev": "*.csv"}}]
    assert configurations(names, {"configs": configs}) == {
        "one": {"train": [names[1]], "test": [names[2]]},
        "two": {"dev": [names[0]]},
    }


def test_files_are_found_by_convention() -> None:
    names = ["corpus.jsonl", "queries/test-00000-of-00001.parquet", "qrels/test.tsv", "x/y/z.csv"]
    layout = layout_of([*names, "data/dev.parquet", "corpus.jsonl.gz"], {})

    def found(configs: list[str], split: str, *, exact: bool = False) -> Sequence[str]:
        return files_of(layout, configs, split, exact=exact, name="n", repository="o/r")

    assert found(["corpus"], "test") == ["corpus.jsonl"]
    assert found(["query", "queries"], "dev") == [names[1]]
    assert found(["default", "qrels"], "validation", exact=True) == ["data/dev.parquet"]
    with pytest.raises(CorpusError, match="n: no bm25 among the files of o/r"):
        found(["bm25"], "test")


def test_shards_named_with_a_hash_are_one_split() -> None:
    names = [f"data/train-0000{at}-of-00002-4746b8785c874cc{at}.parquet" for at in range(2)]
    assert layout_of(names, {}) == {"default": {"train": names}}


def test_of_a_configuration_in_several_formats_one_is_read() -> None:
    names = ["corpus.jsonl.gz", "corpus/corpus-00000-of-00001.parquet", "queries.jsonl"]
    assert layout_of(names, {}) == {
        "corpus": {"corpus": [names[1]]},
        "queries": {"train": [names[2]]},
    }


def test_splits_in_different_formats_are_all_shown() -> None:
    names = ["data/test.jsonl", "data/train-00000-of-00001.parquet", "data/train.jsonl"]
    splits = {"train": [names[1]], "test": [names[0]]}
    assert layout_of(names, {}) == {"default": splits}
    root = ["dev.csv", "train.jsonl.gz"]
    assert layout_of(root, {}) == {"default": {"train": [root[1]], "dev": [root[0]]}}
    of_a_folder = {"configs": [{"config_name": "one", "data_dir": "data"}]}
    assert configurations([*names, "data/notes.csv"], of_a_folder) == {"one": splits}
    # A file without a split stands for it in the same format alone.
    mixed = ["one.parquet", "one/train.parquet", "one/test.csv"]
    assert layout_of(mixed, {}) == {"one": {"train": mixed[:2], "test": [mixed[2]]}}


def test_a_card_that_is_no_yaml_is_passed_over() -> None:
    assert card_metadata("no front matter") == {}
    assert card_metadata("---\na: [\n---\n") == {}
    assert card_metadata("---\n- a\n---\n") == {}
    assert card_metadata(card({"a": {"b": "c"}}).decode())["license"] == "cc-by-4.0"


def test_the_registry_is_consistent() -> None:
    assert len(family("nanobeir")) == 13
    assert len(family("beir")) == 26
    assert (
        len(family("beir/cqadupstack"))
        == len({one.revision for one in family("BEIR/CQADupStack")})
        == 12
    )
    assert len(family("mteb")) == 10
    assert all(one.revision for one in family("mteb"))
    ignoring = {name for name, one in COLLECTIONS.items() if one.ignores_own}
    assert ignoring == {
        *("beir/msmarco", "beir/fiqa", "beir/arguana", "beir/quora", "beir/fever"),
        *("mteb/ArguAna", "mteb/FEVERHardNegatives", "mteb/FiQA2018"),
    }
