"""An index with token vectors: the embedded reranker scores from them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import Index, damaged_files, text_hashes
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_vectors import entry_kind
from ettin_cli.index.token_writer import CodedTexts, TokenShards
from ettin_cli.models.embedders import LEAST_IDF
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import find_model
from ettin_cli.models.rerankers.embedded import EmbeddedTokens, idf_table
from ettin_cli.records import Silence, TextTokens
from ettin_cli.runtime import Loaded
from tests.conftest import Ettin
from tests.models import embedder

CODES, TEXTS = "tokens.codes", "tokens.texts"


@pytest.fixture(scope="module")
def encoder() -> EmbeddedTokens:
    files = find_model("embedded", offline=True, reporter=Silence())
    return EmbeddedTokens(files, EngineSettings(), Silence(), Loaded())


def stored(folder: Path = Path(".ettin")) -> tuple[bytes, bytes]:
    """Return the files of an index's token vectors."""
    generation = folder / "generations" / read_manifest(folder).generation
    return (generation / CODES).read_bytes(), (generation / TEXTS).read_bytes()


def searched(ettin: Ettin, *options: str) -> Any:
    words = ["search", "When does the ferry sail?", "-r", "embedded", "-f", "json"]
    ran = ettin(*words, *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def scores(answer: Any) -> dict[str, float]:
    return {hit["doc_id"]: hit.get("rerank_score", hit["score"]) for hit in answer["hits"]}


def test_scores_come_from_the_index_and_are_close_to_the_models(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    near, exact = searched(ettin), searched(ettin, "--exact")
    assert near["engine"] == "1-bit token vectors, " + exact["engine"]
    assert scores(near).keys() == scores(exact).keys()
    assert scores(near) == pytest.approx(scores(exact), abs=0.3)
    assert scores(near) != scores(exact)
    shutil.rmtree(docs)
    assert searched(ettin)["hits"] == [{**hit, "stale": True} for hit in near["hits"]]


def test_a_score_is_the_formula_over_decoded_vectors(
    ettin: Ettin, docs: Path, encoder: EmbeddedTokens
) -> None:
    """Recomputed from the exact vectors: only the error of the codes is left."""
    ettin("index", "docs", "--token-vectors", "4")
    query = "ferry coins"
    [wanted], _ = encoder.queries([query])
    with Index(Path(".ettin")) as index:
        store = index.tokens
        assert store is not None
        contents = index.passages.contents(np.arange(len(index.passages)))
        positions = store.find(text_hashes(contents)).tolist()
        for content, text in zip(contents, store.read(positions), strict=True):
            exact = dict[int, Any]()
            encoder.texts([content], exact.__setitem__)
            [ids] = encoder.encoder.token_ids([content])[0]
            kept = exact[0].tokens[idf_table()[np.array(ids.ids)] >= LEAST_IDF]
            assert len(text.vectors) == len(kept)
            products = store.codec.rotated(wanted.tokens) @ text.vectors.T
            assert products == pytest.approx(wanted.tokens @ kept.T, abs=0.05)
        assert store.find(text_hashes(["never seen"])).tolist() == [-1]


def test_equal_texts_have_the_same_codes_however_the_index_came_about(
    ettin: Ettin, docs: Path
) -> None:
    ettin("index", "docs", "-i", "whole")
    (docs / "bread.txt").rename("bread.txt")
    ettin("index", "docs", "-i", "grown")
    Path("bread.txt").rename(docs / "bread.txt")
    ettin("index", "-i", "grown")
    assert stored(Path("grown")) == stored(Path("whole"))
    (docs / "twice.txt").write_text((docs / "bread.txt").read_text())
    again = ettin("index", "-i", "grown")
    assert "1 kept" not in again.err
    assert read_manifest(Path("grown")).counts.passages == 4
    assert verified(ettin, "grown")


def verified(ettin: Ettin, index: str) -> bool:
    return ettin("verify", "-i", index).code == 0


def test_an_update_embeds_only_what_is_new(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    (docs / "new.txt").write_text("The island has one lighthouse.\n")
    assert "1 passage embedded, 3 kept" in ettin("index").err
    assert scores(searched(ettin, "-k", "4")).keys() == {
        *("ferry.md", "fares.txt", "bread.txt", "new.txt")
    }


def test_other_bits_and_none_are_made_on_request_and_stay(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs", "--token-vectors", "none")
    assert read_manifest(Path(".ettin")).tokens is None
    assert "tokens" not in ettin("info").out
    assert not searched(ettin)["engine"].startswith("1-bit")
    ettin("index")
    assert read_manifest(Path(".ettin")).tokens is None
    assert "3 passages embedded, 0 kept" in ettin("index", "--token-vectors", "2").err
    made = read_manifest(Path(".ettin")).tokens
    assert made is not None and (made.bits, made.dimension) == (2, 384)
    assert searched(ettin)["engine"].startswith("2-bit token vectors, ")
    assert "up to date" in ettin("index").err
    ettin("index", "--token-vectors", "none")
    assert read_manifest(Path(".ettin")).tokens is None


def test_info_tells_the_size_and_the_measured_error(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    [line] = [line for line in ettin("info").out.splitlines() if line.startswith("tokens")]
    codes, texts = stored()
    each = round((len(codes) + len(texts)) / 3)
    assert f"1 bit a dimension, {each:,} bytes a passage, MaxSim differs by 0.0" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token-vectors", "3"], "1, 2, 4 bits a dimension"),
        (["--token-vectors", "many"], "1, 2, 4 bits a dimension"),
        (["--token-vectors", "1", "--dimensions", "64"], "has no token vectors to store"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    ettin: Ettin, docs: Path, options: list[str], said: str
) -> None:
    ran = ettin("index", "docs", *options)
    assert ran.code == 2
    assert said in ran.err
    assert not Path(".ettin/manifest.json").exists()


def test_fewer_dimensions_or_tokens_have_none(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs", "--dimensions", "64")
    assert read_manifest(Path(".ettin")).tokens is None
    assert not searched(ettin)["engine"].startswith("1-bit")


def test_a_passage_of_frequent_words_and_an_empty_query_side(ettin: Ettin, tmp_path: Path) -> None:
    Path("docs").mkdir()
    (tmp_path / "docs" / "frequent.txt").write_text("it is of the and to in that\n")
    (tmp_path / "docs" / "ferry.txt").write_text("The ferry sails.\n")
    ettin("index", "docs")
    assert len(searched(ettin)["hits"]) == 2
    ran = ettin("search", "ferry " * 10_000, "-r", "embedded", "-f", "json")
    assert ran.code == 0
    assert "a query was truncated at the token limit" in ran.err


def test_damage_is_found_before_a_text_is_used_and_repaired(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    before = stored()
    generation = Path(".ettin/generations") / read_manifest(Path(".ettin")).generation
    broken = bytearray(before[0])
    broken[7] ^= 16
    (generation / CODES).write_bytes(broken)
    ran = ettin("search", "When does the ferry sail?", "-r", "embedded")
    assert ran.code == 1
    assert f"{CODES} is damaged" in ran.err
    assert [Path(path).name for path in damaged_files(Path(".ettin"))] == [CODES]
    again = ettin("verify", "--repair")
    assert again.code == 0, again.err
    assert stored() == before


def test_a_damaged_byte_of_the_list_never_gives_other_vectors(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    with Index(Path(".ettin")) as index:
        hashes = text_hashes(index.passages.contents(np.arange(3)))
        right = read_texts(index, hashes)
    path = Path(".ettin/generations") / read_manifest(Path(".ettin")).generation / TEXTS
    content, refused = path.read_bytes(), 0
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with Index(Path(".ettin")) as index:
            try:
                assert read_texts(index, hashes).items() <= right.items()
            except IndexDamagedError:
                refused += 1
    assert refused > len(content) // 9


def read_texts(index: Index, hashes: Any) -> dict[int, tuple[int, bytes, bool]]:
    """Return what is stored of the texts that are found, by their place in `hashes`."""
    store = index.tokens
    assert store is not None
    positions = store.find(hashes)
    found = np.flatnonzero(positions >= 0).tolist()
    texts = store.read(positions[found].tolist())
    return {
        at: (text.row, text.vectors.tobytes(), text.truncated)
        for at, text in zip(found, texts, strict=True)
    }


def test_a_killed_run_keeps_its_token_vectors(
    ettin: Ettin, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ettin_cli.index.writer.SHARD_ROWS", 1)
    ettin("index", "docs", "-i", "whole")
    begun = []

    def stop(*_: object) -> None:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ettin_cli.index.token_writer.TokenShards.add", counting(stop))
        ettin("index", "docs")
    assert "1 passage embedded, 2 kept" in ettin("index", "docs").err
    assert stored() == stored(Path("whole"))


def counting(before: Any) -> Any:
    from ettin_cli.index.token_writer import TokenShards

    add = TokenShards.add

    def added(self: TokenShards, *args: Any) -> None:
        before()
        add(self, *args)

    return added


def test_names_of_files_are_no_words_of_a_text(ettin: Ettin) -> None:
    Path("twins").mkdir()
    for name in ("alpha-fetch.md", "beta-download.md"):
        Path("twins", name).write_text("# Guide\n\nHow to use the machine safely every day.\n")
    ettin("index", "twins")
    for query in ("fetch", "download", "machine"):
        words = ["search", query, "-r", "embedded", "--blend", "0", "--fold", "none", "-f", "json"]
        near, exact = (scores(json.loads(ettin(*words, *more).out)) for more in ([], ["--exact"]))
        assert near == pytest.approx(exact, abs=0.15)
        assert len(set(near.values())) == 1


def test_a_row_or_hash_that_is_damaged_is_an_error_and_not_another_score(
    ettin: Ettin, docs: Path
) -> None:
    ettin("index", "docs")
    path = Path(".ettin/generations") / read_manifest(Path(".ettin")).generation / TEXTS
    content = path.read_bytes()
    keys, entries = np.frombuffer(content[:24], "<u8"), content[24:]
    for key in range(3):
        damaged = keys.copy()
        damaged[key] ^= 1
        path.write_bytes(damaged.tobytes() + entries)
        ran = ettin("search", "When does the ferry sail?", "-r", "embedded")
        assert (ran.code, f"{TEXTS} is damaged" in ran.err) == (1, True), key
    rows = np.frombuffer(entries, entry_kind()).copy()
    rows["row"] = 999_999
    path.write_bytes(keys.tobytes() + rows.tobytes())
    ran = ettin("search", "When does the ferry sail?", "-r", "embedded")
    assert (ran.code, "is damaged" in ran.err) == (1, True)


def test_more_files_of_an_interrupted_run_are_read_than_may_be_open(tmp_path: Path) -> None:
    shards, codec = TokenShards(tmp_path), TokenCodec(8, 1)
    for number in range(60):
        coded = CodedTexts(codec, 1, [])
        coded.add(0, TextTokens(np.full((number % 3, 8), 1, np.float32)))
        shards.add(text_hashes([str(number)]), coded)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/dev/fd").iterdir()]) + 20, hard))
    try:
        parts = list(TokenShards(tmp_path).load(codec))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [int(one.tokens[0]) for one in parts] == [number % 3 for number in range(60)]
    assert parts[2].read(0, 2 * codec.width).tobytes() == parts[5].read(0, 6).tobytes()
    assert len(list(tmp_path.iterdir())) == 60


def test_another_embedder_gets_its_own_setting(ettin: Ettin, docs: Path, tmp_path: Path) -> None:
    ettin("index", "docs", "--embedder", str(embedder(tmp_path / "e")))
    assert read_manifest(Path(".ettin")).tokens is None
    ettin("index", "--rebuild", "--embedder", "embedded")
    made = read_manifest(Path(".ettin")).tokens
    assert made is not None
    assert made.bits == 1
