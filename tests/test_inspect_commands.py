"""`ettin info`, `verify`, `models` and `cache` report the actual state."""

import os
import shutil
import time
from pathlib import Path

import pytest

from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.models import hub
from ettin_cli.settings import EMBEDDERS, ETTIN_MODELS, MINILM_ID, MINILM_SHA256, EmbedderModel
from tests.conftest import BOATS, Ettin, Outcome, Terminal


def facts(ran: Outcome) -> dict[str, str]:
    """Return a table of two columns; of rows with the same name the last one counts."""
    pairs = (line.split(maxsplit=1) for line in ran.out.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


# ettin info


def test_info_counts_what_the_index_holds(inside: Ettin, library: Path) -> None:
    found = facts(inside("info"))
    counts = read_manifest(library / ".ettin").counts
    assert found["index"] == ".ettin"
    assert int(found["documents"]) == counts.documents == 3 + len(BOATS)
    assert found["passages"] == f"{counts.passages} (up to 24 tokens, overlap 0)"
    assert found["embedder"] == f"embedded ({MINILM_SHA256[:12]})"
    size = (Index(library / ".ettin").generation / "vectors.faiss").stat().st_size
    each = round(size / counts.passages)
    assert found["vectors"] == f"384 dimensions, SQfp16, {each} bytes each"
    assert 768 < each < 800
    assert found["recall"] == "1.000 of the exact top 100"
    assert found["changes"] == "0 new, 0 changed, 0 gone"
    assert "rejected" not in found


def test_info_names_sources_as_they_can_be_given_again(ettin: Ettin, docs: Path) -> None:
    Path("my notes.txt").write_text("A note.\n")
    ettin("index", "docs", "--exclude", "fares.txt")
    ettin("index", "my notes.txt")
    (docs / "deep").mkdir()
    ettin.monkeypatch.chdir(docs / "deep")
    out = ettin("info").out
    assert "source     .. --exclude fares.txt\n" in out
    assert "source     '../../my notes.txt'\n" in out
    assert ettin("index", "--remove", "../../my notes.txt").code == 0


def test_info_tells_what_was_not_read(ettin: Ettin, docs: Path) -> None:
    (docs / "bad.pdf").write_bytes(b"no PDF")
    ettin("index", "docs")
    assert facts(ettin("info"))["rejected"] == "1 file or record could not be read"


def test_info_counts_changes_and_check_exits_with_1(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    assert ettin("info", "--check").code == 0
    (docs / "new.txt").write_text("A new text.\n")
    (docs / "bread.txt").write_text("Knead it for twelve minutes.\n")
    (docs / "fares.txt").unlink()
    ran = ettin("info")
    assert (ran.code, facts(ran)["changes"]) == (0, "1 new, 1 changed, 1 gone")
    ran = ettin("info", "--check")
    assert (ran.code, ran.err) == (1, "ettin: .ettin is out of date: ettin index\n")
    ettin("index")
    assert ettin("info", "--check").code == 0


def test_the_environment_names_the_index(inside: Ettin, library: Path, tmp_path: Path) -> None:
    inside.monkeypatch.chdir(tmp_path)
    assert inside("info").code == 1
    inside.monkeypatch.setenv("ETTIN_INDEX", str(library / ".ettin"))
    assert facts(inside("info"))["index"] == str(library / ".ettin")
    assert inside("info", "-i", "other").code == 1


# ettin verify


def damage(path: Path) -> None:
    # A file may be empty.
    content = bytearray(path.read_bytes()) or bytearray(1)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_file_of_an_index_is_verified(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    names = list(read_manifest(Path(".ettin")).files)
    ran = ettin("verify")
    assert (ran.code, ran.out) == (0, f".ettin is intact: {len(names)} files\n")
    for name in names:
        shutil.copytree(".ettin", "copy")
        path = Index(Path("copy")).generation / name
        damage(path)
        ran = ettin("verify", "-i", "copy")
        assert (ran.code, ran.out) == (1, f"damaged: {path}\n")
        assert "ettin verify -i copy --repair" in ran.err
        shutil.rmtree("copy")


def test_the_command_that_verify_names_makes_the_index_whole(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    damage(Index(Path(".ettin")).generation / "vectors.faiss")
    ran = ettin("verify")
    assert ran.code == 1
    assert ettin(*ran.err.partition(": ettin ")[2].split()).code == 0
    assert ettin("verify").code == 0


def test_a_damaged_or_missing_manifest_is_said(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    damage(Path(".ettin/manifest.json"))
    for words in (["verify"], ["info"], ["search", "x", "-r", "none"]):
        ran = ettin(*words)
        assert (ran.code, ran.out) == (1, "")
        assert ".ettin/manifest.json is damaged" in ran.err
    Path(".ettin/manifest.json").unlink()
    assert "no .ettin in this folder or its parents" in ettin("verify").err


# ettin models


@pytest.mark.parametrize("width", [40, 80])
def test_the_list_of_models_fits_a_terminal_of_80(
    ettin: Ettin, terminal: Terminal, width: int
) -> None:
    lines = terminal("models", width=width).out.splitlines()
    rows = [line for line in lines if line.split()[:1] and line.split()[0] in ETTIN_MODELS]
    assert [row.split()[0] for row in rows] == list(ETTIN_MODELS)
    assert len({len(row.rstrip()) for row in rows}) == 1
    assert max(len(row) for row in rows) <= 80


def test_the_list_of_models_tells_published_figures(ettin: Ettin) -> None:
    header, *rows = ettin("models", "list").out.splitlines()
    for model, row in zip(ETTIN_MODELS.values(), rows, strict=False):
        cells = dict(zip(header.split(), row.replace(" GB", "GB").split(), strict=False))
        assert cells["-r"] == model.alias
        assert float(cells["nDCG@10"]) == model.ndcg10
        assert int(cells["tokens"].replace(",", "")) == model.max_tokens
        rate, device = row.split()[-2:]
        assert float(rate) == pytest.approx(model.speeds[0].pairs_per_s, abs=0.5)
        assert device == "i7-13700K"
        assert f"{model.parameters / 1e6:,.0f}M" == cells["params"]
    assert ettin("models").out == ettin("models", "list").out


@pytest.mark.parametrize("model", EMBEDDERS.values(), ids=lambda model: model.alias)
def test_an_embedder_is_listed_and_shown_with_its_published_figures(
    ettin: Ettin, model: EmbedderModel
) -> None:
    row = line_of(ettin("models"), model.alias)
    assert len(row) <= 80
    assert row.endswith(model.licence)
    cells = row.split()
    assert cells[1:3] == [f"{model.parameters / 1e6:,.0f}M", str(model.dimension)]
    assert cells[4:5] == ([f"{model.ndcg10:.4f}"] if model.ndcg10 else ["no"])
    assert ("own" in cells) == model.own_code
    ran = ettin("models", "show", model.alias)
    assert ran.code == 0
    assert ettin("models", "show", model.hub_id).out.splitlines()[:-1] == ran.out.splitlines()[:-1]
    assert f"https://huggingface.co/{model.hub_id}\n" in ran.out
    for said in (model.revision, model.licence, model.query_prompt, model.document_prompt):
        assert (said or "") in ran.out
    assert ("--trust-remote-code" in ran.out) == model.own_code
    here = str(hub.embedded_folder()) if model.alias == "minilm" else "no: ettin models pull"
    assert here in line_of(ran, "on")


def test_a_model_in_the_cache_is_here_and_shown_with_its_place(
    ettin: Ettin, tmp_path: Path
) -> None:
    model = ETTIN_MODELS["17m"]
    repository = tmp_path / "hf" / "hub" / f"models--{model.hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / model.revision
    snapshot.mkdir(parents=True)
    ettin.monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub")
    )
    (snapshot / "config.json").write_text("{}")
    assert " no " in line_of(ettin("models"), "17m")
    (snapshot / "model.safetensors").write_bytes(b"x" * 123_000)
    assert "123 kB  yes" in line_of(ettin("models"), "17m")
    assert ettin("models", "show", "17m").out.rstrip().endswith(str(snapshot))


def line_of(ran: Outcome, name: str) -> str:
    return next(line for line in ran.out.splitlines() if line.split()[:1] == [name])


@pytest.mark.parametrize("name", [*ETTIN_MODELS, MINILM_ID])
def test_a_model_is_shown_with_its_page_and_how_to_fetch_it(ettin: Ettin, name: str) -> None:
    ran = ettin("models", "show", name)
    hub_id = ETTIN_MODELS[name].hub_id if name in ETTIN_MODELS else MINILM_ID
    assert ran.code == 0
    assert f"https://huggingface.co/{hub_id}\n" in ran.out
    assert "parameters" in ran.out
    assert ran.out.endswith(f"no: ettin models pull {name}\n")


def test_the_stand_in_is_explained_within_80_columns(ettin: Ettin) -> None:
    out = ettin("models", "show", "embedded").out
    explained, _, place = out.partition("on this machine")
    assert max(map(len, explained.splitlines())) <= 80
    assert Path(place.strip(), "model.safetensors").is_file()


def test_pull_prints_where_a_model_is(ettin: Ettin) -> None:
    ran = ettin("models", "pull", "embedded", "auto")
    assert (ran.code, ran.err) == (0, "")
    for line in ran.out.splitlines():
        assert Path(line.split()[1], "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        (["none"], 2, "none is not a model"),
        (["no-such"], 1, "no model 'no-such'"),
        (["a/b/c"], 1, "no model 'a/b/c'"),
        (["nobody/nothing"], 1, "nobody/nothing is not on this machine"),
        (["cache"], 1, "cache is not a model: it has neither config.json nor modules.json"),
        ([], 2, "Missing argument 'NAME'"),
    ],
)
def test_what_cannot_be_pulled_is_said(
    ettin: Ettin, tmp_path: Path, names: list[str], code: int, said: str
) -> None:
    (tmp_path / "cache").mkdir()
    ran = ettin("models", "pull", *names)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_several_failures_are_each_named_and_the_hint_comes_once(ettin: Ettin) -> None:
    ran = ettin("models", "pull", "17m", "embedded", "32m", "nobody/nothing")
    assert ran.code == 1
    assert ran.out.startswith("embedded  ")
    assert ran.err.count("ettin: error: ") == 3
    assert ran.err.count("  hint: ") == 1


# ettin cache


def test_the_cache_tells_what_each_entry_is_of(ettin: Ettin, docs: Path) -> None:
    ettin("search", "ferry", "docs", "-r", "none")
    ettin("search", "ferry", "docs/bread.txt", "docs/fares.txt", "-r", "none")
    header, *rows = ettin("cache").out.splitlines()
    assert header.split() == ["entry", "size", "last", "used", "of"]
    of = {row.split()[0].rpartition("-")[0]: row.split()[5:] for row in rows}
    assert of == {
        "indexes/docs": ["docs"],
        "indexes/bread.txt": ["docs/bread.txt", "docs/fares.txt"],
    }


def test_the_cache_is_listed_by_last_use(ettin: Ettin, docs: Path) -> None:
    names = ["bread.txt", "fares.txt", "ferry.md"]
    for name in names:
        ettin("search", "ferry", f"docs/{name}", "-r", "none")
    for age, name in enumerate(names):
        (folder,) = Path("cache/indexes").glob(f"{name}-*")
        os.utime(folder, (time.time() - 1000 * (9 - age),) * 2)
    ettin("search", "ferry", "docs/fares.txt", "-r", "none")
    listed = [line.split()[0] for line in ettin("cache", "list").out.splitlines()[1:]]
    assert [name.removeprefix("indexes/").rpartition("-")[0] for name in listed] == [
        "fares.txt",
        "ferry.md",
        "bread.txt",
    ]


def test_clear_by_name_by_age_and_all(ettin: Ettin, docs: Path) -> None:
    for name in ("bread.txt", "fares.txt", "ferry.md"):
        ettin("search", "ferry", f"docs/{name}", "-r", "none")
    (old,) = Path("cache/indexes").glob("bread.txt-*")
    os.utime(old, (time.time() - 3 * 86_400,) * 2)
    assert "0 entries removed, 0 B freed" in ettin("cache", "clear", "--older-than", "4").err
    assert "1 entry removed" in ettin("cache", "clear", "--older-than", "2").err
    assert not old.exists()
    (one,) = Path("cache/indexes").glob("fares.txt-*")
    assert "1 entry removed" in ettin("cache", "clear", f"indexes/{one.name}").err
    assert "1 entry removed" in ettin("cache", "clear").err
    ran = ettin("cache")
    assert ran.out == ""
    assert "0 entries" in ran.err


def test_an_unknown_entry_is_refused_before_a_known_one_is_removed(
    ettin: Ettin, docs: Path
) -> None:
    ettin("search", "ferry", "docs", "-r", "none")
    (entry,) = Path("cache/indexes").iterdir()
    ran = ettin("cache", "clear", f"indexes/{entry.name}", "indexes/../../docs")
    assert ran.code == 2
    assert "unknown cache entry 'indexes/../../docs'" in ran.err
    assert entry.is_dir()
    assert docs.is_dir()


def test_an_entry_that_is_being_written_is_left_alone(ettin: Ettin, docs: Path) -> None:
    import filelock

    ettin("search", "ferry", "docs", "-r", "none")
    (entry,) = Path("cache/indexes").iterdir()
    with filelock.FileLock(entry / "lock"):
        ran = ettin("cache", "clear")
    assert ran.code == 0
    assert "kept indexes/" in ran.err
    assert "0 entries removed" in ran.err
    assert ettin("verify", "-i", str(entry)).code == 0


def test_an_empty_cache_and_one_that_is_nowhere_are_told(ettin: Ettin, tmp_path: Path) -> None:
    ran = ettin("cache")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"ettin: {tmp_path / 'cache'}: 0 entries, 0 B\n"
    assert ettin("cache", "clear").code == 0
