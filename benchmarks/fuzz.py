"""Fuzz every reader with damaged files for some minutes, and keep those that break a guarantee.

    python benchmarks/fuzz.py [--minutes 15] [--seed 1] [--only mail] [--finds fuzz_finds]

The guarantees for any bytes: reading gives a document or a reason, raises nothing else and ends in
bounded time; documents can be serialised; passages contain the text of their document once, in
order, and their line numbers are right. With atheris installed the search is guided by code
coverage; otherwise seeds are mutated at random. A find is a file of the input, named after the
target and the failure; the exit code is 1 if there is any.
"""

import argparse
import io
import random
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, get_args

import orjson
import xxhash

from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.ignores import parse
from ettin_cli.corpus.machine_text import without_machine_text
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.sources import SourceFile
from ettin_cli.errors import EttinError
from ettin_cli.files.queries import read_queries
from ettin_cli.files.requests.fields import RequestFields
from ettin_cli.files.requests.reading import open_requests
from ettin_cli.files.trec import read_qrels, read_run
from ettin_cli.index import manifest
from ettin_cli.index.reader import Index
from ettin_cli.records import Document, DocumentKind, Rejection
from ettin_cli.text.chunking import Chunking, chunk
from tests.indexes import Builder, word_model
from tests.outlook_files import Tree, fixed_stream, text_stream, write_outlook
from tests.reading import write_epub, write_pdf
from tests.test_chunking import Words
from tests.test_sheets import cell, inline, rows, table, write_xlsx
from tests.test_slides import shape, slide, write_odf, write_pptx

SLOW_S = 5.0
MOST_BYTES = 20_000
KINDS = get_args(DocumentKind)
SUFFIXES = "txt md rst py html eml jsonl json csv tsv feather arrow pdf epub docx".split()
SUFFIXES += "rtf pptx xlsx odt ods odp".split()
SUFFIXES += ["mbox", "ics", "mhtml", "msg"]
SUFFIXES += "adoc org tex ipynb srt".split()
PIECES = [b"\0", b"\n", b"\r", b'"', b"<", b">", b"<!--", b"-->", b"\xff", b"\xed\xa0\x80", b"\xef"]
PIECES += [b"\xbb\xbf", b"\\ud800", b"[", b"]", b"{", b"}", b",", b"\t", b"1e999", b"-1", b"NaN"]
PIECES += [b"=?utf-8?q?", b"\n\n", b"#", b"```", b"---\n", b"&#0;", b"&#xd800;", b"<p>", b"&amp;"]
PIECES += [b"null", b"true", b"99999999999999999999", b"0.1", b"\xe2\x80\xa8", b"\x0c", b" "]


OFFICE: dict[str, Callable[[Path], Path]] = {
    "xlsx": lambda path: write_xlsx(
        path, {"Tides": rows([inline("a"), inline("b")], [inline("c")])}
    ),
    "pptx": lambda path: write_pptx(path, ["s1"], {"slides/s1.xml": slide(shape("Plan", "title"))}),
    "odt": lambda path: write_odf(path, "text", "<text:p>one<text:s/><text:tab/>two</text:p>"),
    "ods": lambda path: write_odf(path, "spreadsheet", table("T", cell("a") + cell("b", 2))),
    "odp": lambda path: write_odf(
        path, "presentation", "<draw:page><text:p>x</text:p></draw:page>"
    ),
}


class BrokenPromiseError(Exception):
    """A guarantee does not hold."""


def check(document: Document) -> None:
    """Chunk a document, and compare its passages with its text."""
    for text in (document.doc_id, document.text, document.title):
        text.encode()
    orjson.dumps(dict(document.metadata))
    for size in (3, 40):
        passages = [c.passage for c in chunk(document, Words(), Chunking(size, 0), 256)]
        joined = "".join("".join(passage.text.split()) for passage in passages)
        if joined != "".join(document.text.split()):
            raise BrokenPromiseError("text was lost or doubled")
        place = 0
        for passage in passages:
            place = document.text.find(passage.text, place)
            if place < 0:
                raise BrokenPromiseError("a passage is no slice of its document")
            place += len(passage.text)


CALENDAR = (
    b'BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:T\\, u\nDTSTART;TZID="a":20240506T0900\n 00Z\n'
    b'ATTENDEE;CN="A, B":mailto:a@b.c\nDESCRIPTION:one\\ntwo\nEND:VEVENT\nEND:VCALENDAR\n'
)
OUTLOOK: Tree = {
    **fixed_stream({0x0039: 133_594_452_000_000_000, 0x3FDE: 1252}),
    **text_stream("0037", "T"),
    **text_stream("1000", "one"),
    "__attach_version1.0_#00000000": {"__substg1.0_3701000D": text_stream("1000", "two")},
}


class Targets:
    """The functions to fuzz, with their seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index"
        docs = folder / "docs"
        docs.mkdir()
        (docs / "a.txt").write_text("The ferry sails at nine.")
        Builder(word_model(folder / "words"))
        with redirect_stderr(io.StringIO()):
            self._build(docs)
        self.seeds: dict[str, bytes] = {**self._files(), **self._others()}

    def _build(self, docs: Path) -> None:
        from ettin_cli.indexing import building

        builder = Builder(self.folder / "words")
        building.load_embedder = builder.load
        builder(self.index, docs)

    def _files(self) -> dict[str, bytes]:
        """Return a seed for each readable suffix."""
        mail = (
            b"From: A <a@b.c>\nSubject: =?utf-8?q?caf=C3=A9?=\nContent-Type: multipart/alternative;"
        )
        mail += (
            b' boundary="x"\n\n--x\nContent-Type: text/plain; charset=utf-8\n\ncaf\xc3\xa9\n--x\n'
        )
        mail += b"Content-Type: text/html\n\n<p>cafe</p>\n--x--\n"
        page = (
            b"<!DOCTYPE html><title>T</title><body><h1>One</h1><p>two &amp; <b>three</b><pre>\n a"
        )
        page += b"</pre><table><tr><td>x<td>y</table><!-- c --><script>no</script><ul><li>z</ul>"
        book = write_epub(self.folder / "seed.epub", {"a.xhtml": "<p>one</p>"}, title="T")
        return {
            "txt": "Some text. Größe\nand more.\n".encode(),
            "md": b"---\ntitle: T\n---\n> [!n] [[a|b]]\n# One\n\n```py\n# c\n```\n\nB\n---\n- a\n",
            "adoc": b"= T\nA\n:tags: x\n\n== B\n\n----\n== no\n----\n<<a,b>>\nT\n~~~\n",
            "org": b"#+TITLE: T\n* One :a:b:\n:PROPERTIES:\n:END:\n#+begin_src\n* x\n#+end_src\n",
            "tex": b"\\title{T}\n\\begin{document}\n\\section{One} % c\n\\'e $x$ \\ref{a}\n",
            "ipynb": b'{"cells":[{"cell_type":"code","source":["a"],"outputs":[{"text":"b"}]}]}',
            "srt": b"1\n00:00:01,000 --> 00:00:02,000\n<i>a</i> b\n\n00:00:03,000 -> 00:00:04,0\n",
            "rst": b"Title\n=====\n\ntext\n\nOther\n-----\n\n.. note:: x\n",
            "py": b"def f():\n    return 1\n\n\nclass A:\n    pass\n",
            "html": page,
            "eml": mail,
            "mbox": b"From a@b.c Mon May  6 09:00:00 2024\n" + mail + b"\nFrom - 10:00\n\nx\n",
            "mhtml": mail.replace(b"alternative", b"related"),
            "ics": CALENDAR,
            "msg": write_outlook(self.folder / "seed.msg", OUTLOOK).read_bytes(),
            "jsonl": b'{"_id": "a", "text": "one", "x": [1, {"y": null}]}\n{"text": "two"}\n',
            "json": b'[{"id": 7, "text": "one"}, {"text": "two", "title": "T"}]',
            "csv": b'id,text,x\n1,"one, ""two""",3\n2,"a\nb",4\n',
            "feather": self._arrow("new_file"),
            "arrow": self._arrow("new_stream"),
            "tsv": b'id\ttext\n1\tone "x"\n2\t"two\n',
            "pdf": write_pdf(self.folder / "seed.pdf", ["one\ntwo", "three"]).read_bytes(),
            "epub": book.read_bytes(),
            "docx": self._docx(),
            "rtf": rb"{\rtf1\ansi{\fonttbl{\f1\fcharset204 A;}}\f1 \'ef\u8364?{\footnote n}"
            rb"\par b\cell}",
            **{
                name: make(self.folder / f"seed.{name}").read_bytes()
                for name, make in OFFICE.items()
            },
        }

    def _arrow(self, kind: str) -> bytes:
        import pyarrow as pa

        table = pa.table({"id": [1, 2], "text": ["one", "two"], "x": [["a"], None]})
        with io.BytesIO() as file:
            with getattr(pa.ipc, kind)(file, table.schema) as writer:
                writer.write_table(table)
            return file.getvalue()

    def _docx(self) -> bytes:
        import docx

        file = docx.Document()
        file.add_heading("One", 1)
        file.add_paragraph("text")
        file.add_table(1, 2).cell(0, 0).text = "cell"
        file.save(str(self.folder / "seed.docx"))
        return (self.folder / "seed.docx").read_bytes()

    def _others(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.folder / "seed.docx") as archive:
            body = archive.read("word/document.xml")
        names = {"sheet": ("xlsx", "xl/worksheets/0.xml"), "slide": ("pptx", "ppt/slides/s1.xml")}
        names |= {"content": ("odt", "content.xml"), "table": ("ods", "content.xml")}
        parts = {}
        for name, (suffix, part) in names.items():
            with zipfile.ZipFile(self.folder / f"seed.{suffix}") as archive:
                parts[name] = archive.read(part)
        request = b'{"query": "q", "documents": ["a", {"id": 1, "text": "b", "score": 0.5}]}\n'
        return {
            "chapter": b'<?xml version="1.0"?><html><body><p>one</p><![CDATA[x]]></body></html>',
            "body": body[:MOST_BYTES],
            "bulk": b'{"index": {"_id": 1}}\n{"text": "a", "n": NaN}\n{"_source": {"text": "b"}}\n',
            "wrapped": b'{"hits": {"hits": [{"_id": 1, "_source": {"text": "a"}}]},\n "x": 1}',
            "chat": b'[{"messages": [{"role": "user", "content": [{"text": "a"}]}], "name": "n"}]',
            "dialect": b'sep=;\nid; text;;\n1; "a \\"b\\" c";;\n2;x\n',
            "topics": b'<topics><topic number="1"><query>a</query></topic></topics>',
            **parts,
            "queries": b'{"_id": "1", "text": "q"}\n2\tother\nthird\n',
            "run": b"1 Q0 d1 1 0.5 tag\n1 Q0 d2 2 0.4 tag\n",
            "qrels": b"query-id\tcorpus-id\tscore\n1\td1\t1\n2\td2\t0\n",
            "requests": request * 2,
            "pairs": b'{"query": "q", "document": "a"}\n{"query": "q", "text": "b", "qid": 3}\n',
            "manifest": (self.index / "manifest.json").read_bytes(),
            "machine": b"![](data:image/png;base64,"
            + b"aB3/" * 40
            + b') d="M1,2 '
            + b"3 " * 50
            + b'"',
            "ignores": b"*.md\n!a/**/b\n[a-c]?\\*/\n# c\n",
            "cut": b"\x05A title.\n\n# One\n\nSome words. And more, e.g. this.\n```\ncode\n```\n",
        }

    def feed(self, name: str, content: bytes) -> None:
        """Run a target on an input and check the result."""
        path = self.folder / f"input.{name}"
        if name in SUFFIXES:
            path.write_bytes(content)
            self._read(path)
        else:
            try:
                getattr(self, f"feed_{name}")(path, content)
            except EttinError as error:
                if "\n" in error.problem:
                    raise BrokenPromiseError("an error of many lines") from error

    def _read(self, path: Path) -> None:
        rejections: list[Rejection] = []
        skipped: list[str] = []
        file = SourceFile(path, path.name, in_folder=False)
        found = 0
        for document in read_file(file, Fields(), rejections.append, skipped.append):
            found += 1
            check(document)
        if not (found or rejections):
            raise BrokenPromiseError("neither a document nor a reason")
        if any("\n" in one.reason for one in rejections):
            raise BrokenPromiseError("a reason of many lines")

    def feed_chapter(self, _path: Path, content: bytes) -> None:
        """Read an EPUB with this chapter."""
        self._read(write_epub(self.folder / "input.epub", {"a.xhtml": content}))

    def feed_body(self, _path: Path, content: bytes) -> None:
        """Read a DOCX with this body."""
        self._read_with("docx", "word/document.xml", content)

    def feed_sheet(self, _path: Path, content: bytes) -> None:
        """Read a workbook with this sheet."""
        self._read_with("xlsx", "xl/worksheets/0.xml", content)

    def feed_slide(self, _path: Path, content: bytes) -> None:
        """Read a presentation with this slide."""
        self._read_with("pptx", "ppt/slides/s1.xml", content)

    def feed_content(self, _path: Path, content: bytes) -> None:
        """Read an OpenDocument text with this content."""
        self._read_with("odt", "content.xml", content)

    def feed_table(self, _path: Path, content: bytes) -> None:
        """Read an OpenDocument spreadsheet with this content."""
        self._read_with("ods", "content.xml", content)

    def feed_machine(self, _path: Path, content: bytes) -> None:
        """Leave out content for machines; what remains has the same lines."""
        text = content.decode("utf-8", "replace")
        document, _ = without_machine_text(Document("d", text))
        if document.text.count("\n") != text.count("\n"):
            raise BrokenPromiseError("lines were lost")

    def _read_with(self, suffix: str, part: str, content: bytes) -> None:
        """Read the seed of a format with another content of one part."""
        path = self.folder / f"input.{suffix}"
        with (
            zipfile.ZipFile(self.folder / f"seed.{suffix}") as old,
            zipfile.ZipFile(path, "w") as new,
        ):
            for name in old.namelist():
                new.writestr(name, content if name == part else old.read(name))
        self._read(path)

    def feed_bulk(self, path: Path, content: bytes) -> None:
        """Read JSON Lines in the envelopes of a search engine."""
        self._read_as(path, ".jsonl", content)

    feed_wrapped = feed_bulk

    def feed_chat(self, path: Path, content: bytes) -> None:
        """Read JSON with chats."""
        self._read_as(path, ".json", content)

    def feed_dialect(self, path: Path, content: bytes) -> None:
        """Read a CSV of another dialect."""
        self._read_as(path, ".csv", content)

    def _read_as(self, path: Path, suffix: str, content: bytes) -> None:
        named = path.with_suffix(suffix)
        named.write_bytes(content)
        self._read(named)

    def feed_topics(self, path: Path, content: bytes) -> None:
        """Read topics in XML."""
        self.feed_queries(path, content)

    def feed_queries(self, path: Path, content: bytes) -> None:
        """Read a file of queries."""
        path.write_bytes(content)
        for query in read_queries(path):
            f"{query.query_id}{query.text}".encode()

    def feed_run(self, path: Path, content: bytes) -> None:
        """Read a run."""
        path.write_bytes(content)
        read_run(path)

    def feed_qrels(self, path: Path, content: bytes) -> None:
        """Read judgements."""
        path.write_bytes(content)
        read_qrels(path)

    def feed_requests(self, path: Path, content: bytes) -> None:
        """Read an input of `ettin rerank`."""
        path.with_suffix(".jsonl").write_bytes(content)
        with open_requests(path.with_suffix(".jsonl"), RequestFields()) as requests:
            for request in requests.items:
                repr(request).encode("utf-8", "surrogatepass")

    feed_pairs = feed_requests

    def feed_manifest(self, _path: Path, content: bytes) -> None:
        """Open an index with an arbitrary manifest and a valid checksum."""
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        if isinstance(body, dict):
            body.pop("checksum", None)
            content = orjson.dumps({**body, "checksum": manifest._seal(body)})
        (self.index / "manifest.json").write_bytes(content)
        index = Index(self.index)
        index.passages.table.to_pylist()

    def feed_ignores(self, _path: Path, content: bytes) -> None:
        """Match names against patterns."""
        for pattern in parse(content.decode("utf-8", "surrogateescape")):
            for name in ("a/b/c.md", "a" * 200, "a/" * 100 + "b"):
                pattern.fits(name, is_folder=False)

    def feed_cut(self, _path: Path, content: bytes) -> None:
        """Chunk a text of some kind."""
        kind = KINDS[content[0] % len(KINDS)] if content else KINDS[0]
        text = content[1:].decode("utf-8", "replace").replace("\r", "")
        lines = range(1, text.count("\n") + 2)
        document = Document("d", text, kind=kind, lines=lines)
        check(document)
        source = text.split("\n")
        for piece in chunk(document, Words(), Chunking(7, 0), 256):
            begin, end = piece.passage.start_line, piece.passage.end_line
            if begin is None or end is None:
                raise BrokenPromiseError("a passage without its lines")
            if piece.passage.text not in "\n".join(source[begin - 1 : end]):
                raise BrokenPromiseError("lines that do not hold the passage")


class Finds:
    """Keeps one input per failure."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, Counter[str]()
        self.fed = Counter[str]()

    def feed(self, targets: Targets, name: str, content: bytes) -> None:
        """Run a target on an input, and keep the input if a guarantee breaks."""
        self.fed[name] += 1
        began = time.process_time()
        try:
            targets.feed(name, content)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
            self._keep(name, content, what, f"{type(error).__name__}: {error}"[:200])
        if (took := time.process_time() - began) > SLOW_S:
            self._keep(name, content, "slow", f"{took:.1f} s for {len(content):,} bytes")

    def _keep(self, name: str, content: bytes, what: str, told: str) -> None:
        self.seen[f"{name}-{what}"] += 1
        if self.seen[f"{name}-{what}"] == 1:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{name}-{what}-{xxhash.xxh3_64_hexdigest(content)[:8]}"
            path.write_bytes(content)
            print(f"{path.name}: {told}", flush=True)


def changed(drawn: random.Random, content: bytes, other: bytes) -> bytes:
    """Return bytes with a few random mutations."""
    made = bytearray(content)
    for _ in range(drawn.choice((1, 1, 2, 4, 8))):
        at = drawn.randrange(len(made) + 1)
        end = min(len(made), at + drawn.choice((1, 2, 8, 64)))
        kind = drawn.randrange(7)
        if kind == 0:
            del made[at:end]
        elif kind == 1:
            made[at:at] = drawn.choice(PIECES) * drawn.choice((1, 1, 2, 200))
        elif kind == 2 and made:
            made[at % len(made)] = drawn.randrange(256)
        elif kind == 3:
            made[at:at] = made[at:end] * drawn.choice((1, 3, 50))
        elif kind == 4:
            start = drawn.randrange(len(other) + 1)
            made[at:end] = other[start : start + 64]
        elif kind == 5:
            made[at:end] = drawn.choice(PIECES)
        elif drawn.random() < 0.2:
            del made[at:]
    return bytes(made[:MOST_BYTES])


def at_random(
    targets: Targets, names: list[str], finds: Finds, seconds: float, drawn: random.Random
) -> None:
    """Mutate seeds and their mutations until the time is up."""
    pools = {name: [targets.seeds[name]] for name in names}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = drawn.choice(names)
        pool = pools[name]
        content = changed(drawn, drawn.choice(pool), targets.seeds[drawn.choice(names)])
        finds.feed(targets, name, content)
        if drawn.random() < 0.05:
            pool.append(content)
            del pool[1 : len(pool) - 200]


def guided(
    atheris: Any, targets: Targets, names: list[str], finds: Finds, seconds: float, seed: int
) -> None:
    """Run atheris, guided by coverage; does not return."""
    corpus = targets.folder / "corpus"
    corpus.mkdir()
    for number, name in enumerate(names):
        (corpus / name).write_bytes(bytes([number]) + targets.seeds[name])
    dictionary = targets.folder / "words.dict"
    words = ("".join(f"\\x{byte:02x}" for byte in piece) for piece in PIECES)
    dictionary.write_text("".join(f'"{word}"\n' for word in words))

    def one(content: bytes) -> None:
        if content:
            finds.feed(targets, names[content[0] % len(names)], content[1:])

    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-max_len={MOST_BYTES}"]
    options += [f"-dict={dictionary}", "-timeout=120", "-rss_limit_mb=6000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], str(corpus), *options], one)
    atheris.Fuzz()


def _instrumented() -> Any:
    """Return atheris with this project's code instrumented; None if it is not installed."""
    try:
        import atheris
    except ImportError:
        return None
    for name, module in list(sys.modules.items()):
        if name.startswith("ettin_cli.") and getattr(module, "__file__", None):
            for function in _functions(module):
                atheris.instrument_func(function)
    return atheris


def _functions(module: Any) -> Iterator[Callable[..., Any]]:
    for value in list(vars(module).values()):
        holders = vars(value).values() if isinstance(value, type) else [value]
        for one in holders:
            if type(one).__name__ == "function" and one.__module__ == module.__name__:
                yield one


def main() -> None:
    """Fuzz, and exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--finds", type=Path, default=Path("fuzz_finds"))
    parser.add_argument("--random", action="store_true", help="also where atheris is installed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(Path(folder))
        names = arguments.only or list(targets.seeds)
        finds = Finds(arguments.finds)
        seconds = arguments.minutes * 60
        atheris = None if arguments.random else _instrumented()
        if atheris:
            guided(atheris, targets, names, finds, seconds, arguments.seed)
        at_random(targets, names, finds, seconds, random.Random(arguments.seed))
        for name, count in sorted(finds.fed.items()):
            print(f"{name}: {count:,} inputs")
    print(f"{sum(finds.seen.values()):,} broken promises of {len(finds.seen):,} kinds")
    sys.exit(bool(finds.seen))


if __name__ == "__main__":
    main()
