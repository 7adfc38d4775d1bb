"""Headings and file names are stored with passages, searched, and added to older indexes."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from ettin_cli.index.known_vectors import text_hash
from ettin_cli.index.manifest import FileRecord, write_manifest
from ettin_cli.index.passages import PASSAGES
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import IntactParts, damaged_files
from ettin_cli.settings import INDEX_FORMAT, READING
from ettin_cli.storage import checksum
from tests.conftest import Ettin
from tests.indexes import Builder
from tests.reading import write

STEPS = "\n\n".join(f"Step {n}: wipe the flange dry with a soft cloth." for n in range(40))
MANUAL = f"# Manual\n\n## QX-7\n\n{STEPS}\n\nSet four.\n\n## ZB-2\n\n{STEPS}\n\nSet seven.\n"


def manual(folder: Path) -> Path:
    write(folder / "docs" / "pumps" / "guide.md", MANUAL)
    write(folder / "docs" / "other.txt", "Bread is at noon.")
    return folder / "docs"


def as_earlier(folder: Path) -> Index:
    """Rewrite an index as a version without headings wrote it: every hash without them."""
    index = Index(folder)
    path = index.generation / PASSAGES
    table = index.passages.table.drop_columns(["headings", "names"])
    rows = table.to_pylist()
    for row in rows:
        begins = not row["title"] or row["text"].lstrip("#= \n").startswith(row["title"])
        row["hash"] = text_hash(row["text"] if begins else f"{row['title']} {row['text']}")
    old = pa.Table.from_pylist(rows, table.schema)
    manifest = index.manifest
    index.close()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, old.schema) as file:
        file.write_table(old)
    files = {**manifest.files, PASSAGES: FileRecord(path.stat().st_size, checksum(path))}
    write_manifest(folder, replace(manifest, files=files, format=2, reading=0))
    return Index(folder)


def test_passages_have_the_headings_above_them_in_vectors_and_terms(
    tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", str(manual(tmp_path)))
    index = Index(tmp_path / "i")
    rows = range(len(index.passages))
    ends = [row for row in rows if "Set seven." in index.passages.column("text", [row])[0]]
    (passage,) = index.read(ends)
    assert (passage.title, passage.headings) == ("Manual", ("ZB-2",))
    assert passage.content == f"Manual > ZB-2 {passage.text}"
    assert passage.content in build.embedded
    assert set(ends) <= set(index.lexicon.postings("zb")[0].tolist())
    # A document is found by the words of its path, at its first passage.
    assert index.lexicon.postings("pump")[0].tolist() == [
        min(row for row in rows if index.passages.column("doc_id", [row]) == ["pumps/guide.md"])
    ]


def test_an_older_index_is_read_as_it_is_and_an_update_reads_every_file_again(
    tmp_path: Path, build: Builder
) -> None:
    source = manual(tmp_path)
    build(tmp_path / "i", str(source))
    expected = Index(tmp_path / "i").passages.table.to_pylist()
    old = as_earlier(tmp_path / "i")
    assert damaged_files(tmp_path / "i") == []
    rows = range(len(old.passages))
    assert {passage.headings for passage in old.read(rows)} == {()}
    assert sum(len(hashes) for hashes, _ in IntactParts(tmp_path / "i").known_vectors()) == len(
        rows
    )
    build.embedded.clear()
    report = build(tmp_path / "i")
    assert (report.written, len(report.plan.changed)) == (True, 2)
    new = Index(tmp_path / "i")
    assert (new.manifest.reading, new.manifest.format) == (READING, INDEX_FORMAT)
    assert new.passages.table.to_pylist() == expected
    # Only passages that now have headings are embedded again.
    above = {passage.content for passage in new.read(rows) if passage.headings}
    assert set(build.embedded) == above
    assert not build(tmp_path / "i").written


def test_a_renamed_file_is_found_by_its_new_name(tmp_path: Path, build: Builder) -> None:
    source = tmp_path / "docs"
    text = "# Bread\n\nBread is at noon."
    write(source / "oven.md", text)
    write(source / "other.md", "Words.")
    build(tmp_path / "i", str(source))
    assert len(Index(tmp_path / "i").lexicon.postings("oven")[0]) == 1
    (source / "oven.md").rename(source / "kitchen.md")
    report = build(tmp_path / "i")
    assert report.embedded == 0
    lexicon = Index(tmp_path / "i").lexicon
    assert [len(lexicon.postings(term)[0]) for term in ("oven", "kitchen")] == [0, 1]


def test_headings_are_in_the_answer_and_count_when_it_is_reranked(
    ettin: Ettin, tmp_path: Path
) -> None:
    source = manual(tmp_path)
    words = [
        "search",
        "set the ZB-2",
        str(source),
        "--by",
        "passage",
        "-k",
        "1",
        "-c",
        "3",
        "--blend",
        "0",
    ]
    ran = ettin(*words, "-r", "embedded", "--exact", "-f", "json")
    (hit,) = json.loads(ran.out)["hits"]
    assert (hit["title"], hit["headings"]) == ("Manual", ["ZB-2"])
    (tmp_path / "answers.json").write_text(ran.out)
    again = ettin("rerank", str(tmp_path / "answers.json"), "-r", "embedded", "-f", "json")
    (answer,) = json.loads(again.out)
    (other,) = answer["hits"]
    assert other["headings"] == ["ZB-2"]
    assert abs(other["score"] - hit["score"]) < 1e-4
