"""Content for machines is left out and counted, and text that looks like it is kept."""

import base64
import json
import random
import string
from collections import Counter
from pathlib import Path

import pytest

from ettin_cli.corpus.machine_text import is_minified, machine_file, without_machine_text
from ettin_cli.index import RecordedSource, read_manifest
from ettin_cli.index.manifest import write_manifest
from ettin_cli.records import Document
from tests.conftest import Ettin
from tests.reading import listed, names, write

DRAWN = random.Random(4)
DATA = DRAWN.randbytes(3000)
ENCODED = base64.b64encode(DATA).decode()
WRAPPED = base64.encodebytes(DATA).decode()
VECTOR = [DRAWN.uniform(-1, 1) for _ in range(384)]
SHAPE = "M12.5,3 " + "c1.1,-2.5 3.2,4 5,6z " * 12


def sifted(text: str) -> tuple[str, dict[str, int]]:
    document, left_out = without_machine_text(Document("a", text, lines=(1,)))
    assert document.text.count("\n") == text.count("\n")
    return document.text, dict(left_out)


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        (f"A ![tide](data:image/png;base64,{ENCODED}) B", "A ![tide]() B", {"data URI": 1}),
        (f"[image1]: <data:image/png;base64,{ENCODED}>", "[image1]: <>", {"data URI": 1}),
        (
            f"a {{src: url(\"data:image/svg+xml;utf8,<svg xmlns='x' d='{SHAPE}'>\")}} b",
            'a {src: url("")} b',
            {"data URI": 1},
        ),
        (f'<svg><path d="{SHAPE}"/>word</svg>', "<svg><path />word</svg>", {"vector path": 1}),
        (
            f"Key:\n{WRAPPED}end",
            "Key:" + "\n" * (WRAPPED.count("\n") + 1) + "end",
            {"base64 block": 1},
        ),
        (f"one {ENCODED} two", "one  two", {"base64 block": 1}),
        (f"one {DATA.hex()} two", "one  two", {"base64 block": 1}),
        (f"vector: {json.dumps(VECTOR)}.", "vector: .", {"number array": 1}),
    ],
)
def test_content_for_machines_is_left_out_and_counted(
    text: str, kept: str, left_out: dict[str, int]
) -> None:
    assert sifted(text) == (kept, left_out)


@pytest.mark.parametrize(
    "text",
    [
        "ACGT" * 500,
        "AcGtN1" * 100,
        "3" + "1415926535" * 100,
        "a" * 1000,
        "=" * 300 + "\n" + "-" * 300,
        "data:image/png;base64,iVBORw0KGgo=",
        "see https://example.org/" + "long-path/" * 60 + "?q=1",
        "\n".join(f"{DRAWN.getrandbits(256):064x}" for _ in range(9)),
        "temperatures: [1.5, 2.5, 3.5]",
        f"years: {list(range(1900, 2000))}",
        "metadata: a, b",
        "가나다라" * 200,
        "\n".join(["word " * 12] * 20),
        'd="M1,2 3"',
    ],
)
def test_text_that_people_read_is_kept(text: str) -> None:
    assert sifted(text) == (text, {})


def test_vectors_and_encoded_fields_of_a_record_are_left_out() -> None:
    metadata = {
        "embedding": VECTOR,
        "quantised": [int(value * 127) for value in VECTOR],
        "as_text": json.dumps(VECTOR),
        "picture": f"data:image/png;base64,{ENCODED}",
        "years": list(range(1900, 2000)),
        "half": [0.5] * 16,
        "flags": [True] * 400,
        "empty": "",
        "name": "Ida",
    }
    document, left_out = without_machine_text(Document("a", "text", metadata=metadata))
    assert list(document.metadata) == ["years", "half", "flags", "empty", "name"]
    assert left_out == Counter({"number array": 3, "data URI": 1})


def test_minified_code_is_told_from_code_and_prose() -> None:
    code = "function a(b,c){return b?c:d(b,c)};" * 100
    prose = "var help = '" + "The ferry sails at nine in the morning. " * 50 + "';"
    source = "\n".join(["    if (ready) { start(engine); }"] * 100)
    assert is_minified("a.js", code)
    assert [is_minified(*one) for one in (("a.py", code), ("a.js", prose), ("a.js", source))] == [
        *[False] * 3
    ]


@pytest.mark.parametrize("name", ["x/package-lock.json", "Cargo.lock", "go.sum", "a.min.css"])
def test_files_for_machines_are_known_by_name(name: str) -> None:
    assert machine_file(name)
    assert machine_file(name.replace(".", "_") + ".md") is None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root / "a.md", f"# Tides\n\nHigh at noon. ![](data:image/png;base64,{ENCODED})\n")
    write(root / "yarn.lock", "left-pad@1.0.0:\n  resolved zebrafish\n")
    write(root / "app.min.js", "var quagga=1;")
    write(root / "b.js", "function okapi(b,c){return b?c:d(b,c)};" * 100)
    write(root / "app.js.map", '{"sources": ["ibex"]}')
    write(root / "level.map", b"\0\1")
    return root


def found(ettin: Ettin, word: str, index: str) -> str:
    return ettin(
        "search", word, "-i", index, "-r", "none", "--retriever", "bm25", "-f", "paths"
    ).out.strip()


def test_a_folder_is_listed_without_files_for_machines(project: Path) -> None:
    listing = listed(project)
    assert names(listing) == ["a.md", "b.js"]
    assert dict(listing.skipped) == {
        "lock file": 1,
        "minified file": 1,
        "source map": 1,
        "binary": 1,
    }


def test_what_is_left_out_is_said_once_with_how_to_take_it_in(
    ettin: Ettin, project: Path, tmp_path: Path
) -> None:
    index = str(tmp_path / "index")
    arguments = ("index", str(project), "-i", index, "--embedder", "embedded")
    done = ettin(*arguments)
    line = (
        "left out 1 data URI, 1 lock file, 2 minified files, 1 source map; --all-text indexes them"
    )
    assert (done.code, done.err.count(line)) == (0, 1)
    assert found(ettin, "zebrafish", index) == ""
    done = ettin(*arguments, "--all-text")
    assert (done.code, "left out" in done.err) == (0, False)
    for word in ("zebrafish", "quagga", "okapi", "ibex", "left-pad"):
        assert found(ettin, word, index)
    assert read_manifest(Path(index)).sources[0].all_text
    done = ettin("index", "-i", index)
    assert (done.code, "up to date" in done.err) == (0, True)


def test_manifests_without_the_option_are_as_they_were(
    ettin: Ettin, project: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    ettin("index", str(project), "-i", str(index), "--embedder", "embedded")
    (source,) = json.loads((index / "manifest.json").read_text())["sources"]
    assert "all_text" not in source
    manifest = read_manifest(index)
    assert manifest.sources[0] == RecordedSource(manifest.sources[0].location)
    write_manifest(index, manifest)
    assert read_manifest(index) == manifest


def test_a_lock_file_given_by_name_is_read(ettin: Ettin, project: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    ettin("index", str(project / "yarn.lock"), "-i", index, "--embedder", "embedded")
    assert "yarn.lock" in found(ettin, "zebrafish", index)


def test_sifting_takes_time_by_the_length_of_the_text() -> None:
    for piece in ("data:image/png,", "[1.0,", 'd="M1 ', "A" * 70 + "\n", string.ascii_letters):
        assert without_machine_text(Document("a", piece * 20_000))
