"""Text files, one document each: prose, Markdown, reStructuredText and source code."""

from __future__ import annotations

from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.front_matter import front_matter
from ettin_cli.corpus.machine_text import LOCK_FILES
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.titles import markdown_title, rst_title
from ettin_cli.corpus.wiki import as_shown, page_properties
from ettin_cli.records import Document, DocumentKind


def _prose(path: Path, doc_id: str) -> Document:
    text = read_text(path)
    return _document(doc_id, text, kind="code" if text.startswith("#!") else "prose")


def _code(path: Path, doc_id: str) -> Document:
    return _document(doc_id, read_text(path), kind="code")


def _rst(path: Path, doc_id: str) -> Document:
    text = read_text(path)
    return _document(doc_id, text, kind="rst", title=rst_title(text))


def _markdown(path: Path, doc_id: str) -> Document:
    return markdown_document(read_text(path), doc_id)


def markdown_document(text: str, doc_id: str) -> Document:
    """Return Markdown with what its front matter says, in the lines of the file."""
    front = front_matter(text)
    body = "\n".join(text.split("\n")[front.lines :])
    properties = page_properties(body)
    body = as_shown(body)
    titles = [front.title, *(properties[one] for one in properties if one.lower() == "title")]
    title = next(filter(None, titles), "") or markdown_title(body)
    searched = [*front.searched, *([("", front.lines)] if front.searched else [])]
    last = front.lines + body.count("\n") + 1
    return Document(
        doc_id,
        "\n".join([*(line for line, _ in searched), body]),
        title=title,
        kind="markdown",
        metadata={**front.metadata, **properties},
        lines=[*(number for _, number in searched), *range(front.lines + 1, last + 1)],
    )


def _document(doc_id: str, text: str, *, kind: DocumentKind, title: str = "") -> Document:
    lines = range(1, text.count("\n") + 2)
    return Document(doc_id, text, title=title, kind=kind, lines=lines)


PROSE = DocumentReader(
    name="text",
    suffixes=(".txt", ".text", ".log"),
    read=_prose,
    file_names=frozenset(
        "readme license licence copying notice authors changelog changes news todo".split()
    ),
    compressed=True,
)
MARKDOWN = DocumentReader(
    name="Markdown",
    suffixes=(".md", ".markdown", ".mdx", ".rmd", ".qmd"),
    read=_markdown,
    compressed=True,
    title_suffices=True,
)
RST = DocumentReader(name="reStructuredText", suffixes=(".rst",), read=_rst, compressed=True)
CODE = DocumentReader(
    name="source code",
    suffixes=tuple(
        """.py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh
        .cs .go .rs .rb .php .swift .m .mm .r .jl .lua .pl .pm .sh .bash .zsh .fish .ps1 .bat .sql
        .hs .ml .mli .ex .exs .erl .clj .lisp .el .vim .dart .zig .nim .f .f90 .for .pas .asm .s .v
        .vhd .toml .yaml .yml .ini .cfg .conf .css .scss .less .vue .svelte .proto .graphql
        .tf .cmake .gradle .xml .svg .po .cu .pyx .groovy .mk .nix .sol .map""".split()
    ),
    read=_code,
    file_names=frozenset(
        "makefile gnumakefile dockerfile containerfile rakefile gemfile jenkinsfile vagrantfile "
        "cmakelists.txt".split()
    )
    | LOCK_FILES,
    compressed=True,
)
