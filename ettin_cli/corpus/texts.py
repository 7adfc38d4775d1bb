"""Text files, one document each: prose, Markdown, reStructuredText and source code."""

from __future__ import annotations

from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.machine_text import LOCK_FILES
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.titles import markdown_title, rst_title, split_front_matter
from ettin_cli.records import Document, DocumentKind


def _prose(path: Path, doc_id: str) -> Document:
    return _document(doc_id, read_text(path), kind="prose")


def _code(path: Path, doc_id: str) -> Document:
    return _document(doc_id, read_text(path), kind="code")


def _rst(path: Path, doc_id: str) -> Document:
    text = read_text(path)
    return _document(doc_id, text, kind="rst", title=rst_title(text))


def _markdown(path: Path, doc_id: str) -> Document:
    text = read_text(path)
    skipped, title = split_front_matter(text)
    text = "\n".join(text.split("\n")[skipped:])
    title = title or markdown_title(text)
    return _document(doc_id, text, kind="markdown", title=title, skipped=skipped)


def _document(
    doc_id: str, text: str, *, kind: DocumentKind, title: str = "", skipped: int = 0
) -> Document:
    lines = range(skipped + 1, skipped + text.count("\n") + 2)
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
    name="Markdown", suffixes=(".md", ".markdown", ".mdx"), read=_markdown, compressed=True
)
RST = DocumentReader(name="reStructuredText", suffixes=(".rst",), read=_rst, compressed=True)
CODE = DocumentReader(
    name="source code",
    suffixes=tuple(
        """.py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh
        .cs .go .rs .rb .php .swift .m .mm .r .jl .lua .pl .pm .sh .bash .zsh .fish .ps1 .bat .sql
        .hs .ml .mli .ex .exs .erl .clj .lisp .el .vim .dart .zig .nim .f .f90 .for .pas .asm .s .v
        .vhd .tex .toml .yaml .yml .ini .cfg .conf .css .scss .less .vue .svelte .proto .graphql
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
