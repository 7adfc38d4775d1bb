"""Small inputs that are easily read wrong are read and searched right, as a user would try them."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ettin_cli import Searcher, Session
from ettin_cli.models.engines import EngineSettings
from tests.conftest import Ettin, Outcome

CASES = Path(__file__).parents[1].parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="needs the shared cases")

Hit = dict[str, Any]

# Files by case; each file with parts of its text.
FOLDERS = {
    "05-short-western-text-read-as-eastern": {
        "es.txt": ["Mañana por la mañana iré a la reunión. Años después volvió."],
        "fr.txt": ["Le café ferme à six heures. Voilà où il a été."],
        "it.txt": ["Perché la città è così? Più tardi andrò là."],
        "pl.txt": ["Wszyscy ludzie rodzą się wolni i równi pod względem swej godności", "Są oni"],
    },
    "17-iso-2022-jp": {"nec.eml": ["明日の会議室は三階です。①資料を持参"]},
    "25-html-silenced-by-broken-markup": {
        "svg.html": ["Before.", "The dredger leaves at dawn.", "After."]
    },
    "26-html-tables-and-pictures": {"table.html": ["\nMonday | 9-17\n", "\nTuesday | closed"]},
}
# As above, where every file is a source of its own.
FILES = {
    "07-docx-with-a-dangling-relation": {
        "anchor.docx": ["The winch is greased in March."],
        "no-image.docx": ["The winch is greased in March."],
    },
    "08-mail-body-lost": {
        "apple-html-pdf-html.eml": [
            "The agreement is attached.",
            "Sign on page nine and send it to the Marlwick office.",
        ],
        "apple-text-image-text.eml": [
            "Here is the kiln door before the repair.",
            "two hinges from Quillfeather Ironworks by Friday.",
        ],
        "plain-empty-html-full.eml": ["The seed library lends out marrow and borage seeds again."],
    },
    "09-docx-text-not-read": {
        "altchunk.docx": ["Before the chunk.", "The dredger leaves at dawn.", "After the chunk."],
        "comment.docx": ["The gate is ready.", "Ask Halloway about the rust"],
        "header-footer.docx": [
            "Dear Sir, the gate is ready.",
            "Quillfeather Ironworks Ltd, reference 77-B",
            "Payment to account 0099 at Dunmere Bank",
        ],
    },
}


class Case:
    """A copy of one case; the command that indexes it, and searches of its index."""

    def __init__(self, folder: Path, ettin: Ettin, session: Session) -> None:
        self.folder, self.ettin, self.session = folder, ettin, session
        self.searchers: dict[tuple[str, str], Searcher] = {}

    def index(self, *options: str, files: bool = False, code: int = 0) -> Outcome:
        """Index the folder, or each of its files as a source, and return what was said."""
        self.close()
        sources = sorted(self.folder.iterdir()) if files else [self.folder]
        done = self.ettin(
            *("index", *map(str, sources), "-i", "index", "--rebuild"),
            *("--embedder", "embedded", "--ocr", "never", "--color", "never", *options),
        )
        assert done.code == code, done.err
        assert code or "rejected" not in done.err
        return done

    def search(
        self, query: str, retriever: str = "auto", reranker: str = "none", **options: Any
    ) -> list[Hit]:
        """Return the hits, best first."""
        models = (retriever, reranker)
        if models not in self.searchers:
            opened = self.session.open("index", reranker=reranker, retriever=retriever)
            self.searchers[models] = opened
        hits: list[Hit] = self.searchers[models].search(query, **options).to_dict()["hits"]
        return hits

    def found(self, query: str, retriever: str = "auto", **options: Any) -> list[str]:
        """Return the names of the files that are found, best first."""
        return [Path(hit["path"]).name for hit in self.search(query, retriever, **options)]

    def passages(self) -> dict[str, list[Hit]]:
        """Return every passage by the name of its file, in order."""
        passages: dict[str, list[Hit]] = {}
        hits = self.search("text", "dense", top_k=100, by="passage", fold="none")
        for hit in sorted(hits, key=lambda hit: int(hit["passage_id"])):
            passages.setdefault(Path(hit["path"]).name, []).append(hit)
        return passages

    def texts(self) -> dict[str, list[str]]:
        return {name: [hit["text"] for hit in hits] for name, hits in self.passages().items()}

    def titles(self) -> dict[str, list[str]]:
        return {name: [hit["title"] for hit in hits] for name, hits in self.passages().items()}

    def close(self) -> None:
        for searcher in self.searchers.values():
            searcher.close()
        self.searchers.clear()


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(EngineSettings(device="cpu"), offline=True) as session:
        yield session


@pytest.fixture
def case(ettin: Ettin, tmp_path: Path, session: Session) -> Iterator[Callable[[str], Case]]:
    cases: list[Case] = []

    def copied(name: str) -> Case:
        folder = Path(shutil.copytree(CASES / name, tmp_path / name))
        cases.append(Case(folder, ettin, session))
        return cases[-1]

    yield copied
    for each in cases:
        each.close()


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_every_part_of_the_text_is_indexed(name: str, case: Callable[[str], Case]) -> None:
    tried = case(name)
    tried.index(files=name in FILES)
    texts = tried.texts()
    expected = FOLDERS.get(name) or FILES[name]
    assert set(texts) == set(expected)
    missing = [
        (file, part)
        for file, parts in expected.items()
        for part in parts
        if part not in "\n\n".join(texts[file])
    ]
    assert missing == []


def test_words_of_a_pdf_broken_at_a_line_end_are_found(case: Callable[[str], Case]) -> None:
    pdf = case("01-pdf-line-end-hyphen")
    pdf.index()
    for query in ("temperature", "lighthouse", '"well-known"'):
        [hit] = pdf.search(query, "bm25")
        assert (hit["doc_id"], hit["page"]) == ("a.pdf", 1)
    for words in ("the lighthouse every", "the temperature of", "A well-known rule"):
        assert words in hit["text"]


def test_a_note_without_a_heading_is_found_by_its_file_name(case: Callable[[str], Case]) -> None:
    notes = case("02-file-name-is-not-searched")
    notes.index()
    assert notes.found("sourdough starter")[0] == "Sourdough starter.md"
    assert notes.found("yard care")[0] == "Yard.md"
    assert notes.titles() == {
        "Sourdough starter.md": ["Sourdough starter"],
        "Yard.md": ["Yard"],
        "misc.md": ["misc"],
    }


def test_front_matter_is_searched_and_filtered(case: Callable[[str], Case]) -> None:
    notes = case("03-front-matter-is-lost")
    notes.index()
    assert set(notes.found("gait score", "bm25")) == {"note.md", "stub.md"}
    for query in ("wobble index", "physiotherapy", "ida brandt", "unsteadiness", "ten metres"):
        assert notes.found(query, "bm25") == ["note.md"]
    assert notes.found("gait score", filters={"author": "Ida Brandt"}) == ["note.md"]
    for field, value in (("tags", "balance"), ("aliases", "Wobble Index")):
        assert notes.found("steps", filters={field: value}) == ["note.md"]
    [note] = notes.passages()["note.md"]
    described = "How to measure unsteadiness in older patients"
    assert note["metadata"]["description"] == described


@pytest.mark.parametrize("files", [False, True])
def test_csv_is_read_with_other_delimiters(case: Callable[[str], Case], files: bool) -> None:
    tables = case("04-csv-with-another-delimiter")
    tables.index(files=files)
    assert tables.texts() == {
        "semicolon.csv": [
            "Der Bohrer liegt im roten Koffer, zweites Fach.",
            "Die Zange hängt an der Wand.",
        ],
        "excel-utf16-tabs.csv": [
            "The drill lies in the red case.",
            "The pliers hang on the wall – left.",
        ],
    }
    assert tables.titles() == {
        "semicolon.csv": ["Bohrer", "Zange"],
        "excel-utf16-tabs.csv": ["Drill", "Pliers"],
    }


def test_options_of_a_command_are_no_exclusions(case: Callable[[str], Case]) -> None:
    notes = case("06-command-line-options-in-a-query")
    notes.index()
    assert notes.found("git commit -m message")[0] == "git.md"
    assert notes.found("what does docker run -p do")[0] == "docker.md"
    assert notes.found("grep -r pattern")[0] == "grep.md"
    done = notes.ettin("search", "ports -nginx", "-i", "index", "-r", "none", "-f", "paths")
    assert "docker.md" not in done.out
    assert re.search(r'-"?nginx"? leaves out 1 of 6 passages', done.err)


def test_a_docx_without_a_title_gets_none_from_its_reader(case: Callable[[str], Case]) -> None:
    letter = case("10-docx-without-properties-has-an-invented-title")
    letter.index()
    assert letter.titles()["a.docx"] in ([""], ["a"])
    assert "The fee is fifty pounds." in letter.texts()["a.docx"][0]


def test_pages_without_a_text_layer_are_named(case: Callable[[str], Case]) -> None:
    contract = case("11-pdf-pages-without-text")
    assert re.search(r"a\.pdf: pages? 2\b.*no text layer", contract.index().err)
    text = "".join(contract.texts()["a.pdf"])
    assert "Contract of sale of the mill." in text
    assert "Signed by both parties." in text


def test_a_value_typed_into_a_form_is_found(case: Callable[[str], Case]) -> None:
    form = case("12-pdf-form-values")
    form.index()
    assert form.found("Thornbury", "bm25") == ["form.pdf"]


def test_a_broken_byte_is_replaced_and_counted(case: Callable[[str], Case]) -> None:
    broken = case("13-one-broken-byte")
    said = broken.index(files=True).err
    assert re.search(r"a\.txt: 1 .*U\+FFFD.* line 2", said)
    assert re.search(r"p\.html: 1 .*U\+FFFD.* line 1", said)
    assert broken.texts() == {
        "a.txt": ["The café by the naïve river résumé.\nbroken \ufffd byte\nThe end é."],
        "p.html": [
            "Café ouvert à midi, fermé le dimanche, près de la mairie.\n\ncaf\ufffd de la gare"
        ],
    }


def test_titles_are_read_as_yaml(case: Callable[[str], Case]) -> None:
    notes = case("16-yaml-titles")
    notes.index()
    titles = notes.titles()
    assert titles["a.md"] == ["A guide to mending nets"]
    assert titles["b.md"] == ["Nets: a guide"]
    assert titles["c.md"] == ["It's a net"]


def test_latin_1_of_mail_is_read_as_windows_1252(case: Callable[[str], Case]) -> None:
    mail = case("18-latin-1-means-windows-1252")
    mail.index()
    [text] = mail.texts()["m.eml"]
    assert text == "We don’t paint the fence… the neighbour’s cat “owns” it – price € 40."


def test_mail_headers_are_found_behind_other_lines(case: Callable[[str], Case]) -> None:
    mail = case("19-mail-headers-behind-something")
    mail.index(files=True)
    assert mail.titles() == {
        "-banner-midheaders.eml": ["Things for the harvest"],
        "bom-first.eml": ["Greenhouse keys"],
        "utf16.eml": ["Things for the harvest"],
    }
    assert mail.texts() == {
        "-banner-midheaders.eml": ["Bring baskets and twine."],
        "bom-first.eml": ["The spare keys hang behind the boiler."],
        "utf16.eml": ["Bring the ladder, two baskets and the long shears."],
    }


def test_headers_and_tags_are_no_queries(case: Callable[[str], Case]) -> None:
    boats = case("20-queries-in-csv-and-topics")
    corpus = str(boats.folder / "corpus.jsonl")
    boats.ettin.monkeypatch.setenv("ETTIN_EMBEDDER", "embedded")
    expected = [
        ("q1", "when does the ferry sail", "d1"),
        ("q2", "when is bread baked", "d2"),
        ("q3", "can I bring my dog", "d3"),
    ]
    for file, count in (("queries.csv", 3), ("queries_header.tsv", 3), ("topics.trec", 2)):
        queries = str(boats.folder / file)
        done = boats.ettin("search", "--queries", queries, corpus, "-r", "none", "-f", "jsonl")
        assert done.code == 0
        answers = [json.loads(line) for line in done.out.splitlines()]
        found = [(each["query_id"], each["query"], each["hits"][0]["doc_id"]) for each in answers]
        assert found == expected[:count]


def test_a_negative_is_scored(case: Callable[[str], Case]) -> None:
    pairs = case("21-score-pairs-negative")
    file = str(pairs.folder / "triplet.jsonl")
    done = pairs.ettin("score", "--pairs", file, "-r", "embedded", "-f", "jsonl")
    assert done.code == 0
    positive, negative = map(json.loads, done.out.splitlines())
    assert positive["document"] == "The ferry sails at nine from the east landing."
    assert negative["document"] == "Bread is baked daily at dawn."
    assert (positive["label"], negative["label"]) == (1, 0)
    assert positive["score"] > negative["score"]


def test_json_that_is_no_table_is_skipped_and_counted(case: Callable[[str], Case]) -> None:
    project = case("22-json-that-is-no-table")
    assert "skipped 6 " in project.index().err
    assert project.texts() == {"README.md": ["# Readme"]}


def test_no_record_is_lost_for_a_side_issue(case: Callable[[str], Case]) -> None:
    tables = case("23-records-lost-for-a-side-issue")
    tables.index(files=True)
    passages = tables.passages()
    texts = {
        name: [" ".join(hit["text"].split()) for hit in hits] for name, hits in passages.items()
    }
    assert texts == {
        "list-text.parquet": [
            "The drill lies in the red case. The pliers hang on the wall.",
            "The saw is blunt.",
        ],
        "nan.jsonl": ["The drill lies in the red case.", "The pliers hang.", "The saw is blunt."],
        "null-id.jsonl": ["A null id."],
        "text-list.jsonl": ["The drill lies in the red case. The pliers hang.", "A novel."],
        "title-int.jsonl": ["A novel about a watched city.", "A novel about a matchmaker."],
    }
    assert [hit["title"] for hit in passages["title-int.jsonl"]] == ["1984", "Emma"]
    prices = [hit["metadata"]["price"] for hit in passages["nan.jsonl"]]
    assert (prices[0], prices[2]) == (None, 2)
    [record] = passages["null-id.jsonl"]
    assert record["doc_id"].split("#")[-1] not in ("", "None", "null")


def test_rows_of_a_spreadsheet_are_read_without_padding(case: Callable[[str], Case]) -> None:
    tables = case("24-csv-from-spreadsheets")
    tables.index(files=True)
    passages = tables.passages()
    rows = {
        name: [(hit["title"], hit["text"], hit["metadata"]) for hit in hits]
        for name, hits in passages.items()
    }
    assert rows == {
        "spaces.csv": [
            ("Drill", "The drill, red, lies in the case.", {}),
            ("Saw", "The saw is blunt.", {}),
        ],
        "trailing.csv": [
            ("Drill", "The drill lies in the red case.", {}),
            ("Pliers", "The pliers hang on the wall.", {}),
            ("Saw", "The saw is blunt.", {}),
        ],
    }


def test_chapters_of_a_faulty_epub_are_read(case: Callable[[str], Case]) -> None:
    books = case("27-epub-small-faults")
    said = books.index(files=True, code=3).err
    [rejected] = [line for line in said.splitlines() if "rejected" in line]
    assert re.search(r'idref-unknown\.epub: .*"cover"', rejected)
    texts = books.texts()
    assert set(texts) == {"fragment.epub", "idref-unknown.epub", "opf-entity.epub"}
    for [text] in texts.values():
        assert "Chapter one tells of herons and reed beds." in text


def test_korean_words_are_found_with_their_particles(case: Callable[[str], Case]) -> None:
    notes = case("28-korean-words")
    notes.index()
    assert notes.found("학교", "bm25") == notes.found("도서관", "bm25") == ["ko.txt"]
    assert notes.found("병원", "bm25") == []


def test_a_word_with_a_colon_is_text(case: Callable[[str], Case]) -> None:
    notes = case("30-words-with-a-colon")
    notes.index()
    assert notes.found("nginx:latest")[0] == "docker.md"
    assert notes.found("localhost:8080")[0] == "err.md"
    assert notes.found("status:500")[0] == "err.md"


def test_a_passage_is_found_by_the_heading_above_it(case: Callable[[str], Case]) -> None:
    manual = case("31-heading-not-with-its-passage")
    manual.index()
    for model, setting in (("QX-7", "4.2 bar"), ("ZB-2", "6.8 bar")):
        query = f"relief valve setting of the {model} pump"
        best, *_ = manual.search(query, reranker="embedded", by="passage")
        assert f"set the relief valve to {setting}" in best["text"]


def test_a_carriage_return_ends_no_line(case: Callable[[str], Case]) -> None:
    log = case("32-lines-by-carriage-returns")
    log.index()
    [hit] = log.search("walrus checksum", "bm25")
    assert hit["end_line"] == 3
    done = log.ettin("search", "walrus checksum", "-i", "index", "-r", "none", "-f", "paths")
    assert done.out.splitlines()[0].endswith("pip.log:3")


def test_columns_are_known_in_any_case_or_named(case: Callable[[str], Case]) -> None:
    table = case("35-title-column")
    table.index(files=True)
    hits = table.passages()["a.csv"]
    assert [(hit["doc_id"], hit["title"], hit["text"], hit["metadata"]) for hit in hits] == [
        ("1", "Drill manual", "Keep the bit sharp.", {}),
        ("2", "Pliers", "They hang on the wall.", {}),
    ]
    table.index("--title-field", "Text", files=True)
    assert table.titles()["a.csv"] == ["Keep the bit sharp.", "They hang on the wall."]
