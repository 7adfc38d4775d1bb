"""What a file is, by its name."""

from __future__ import annotations

from pathlib import PurePath

COMPRESSED = (".gz", ".zst")
MARKDOWN = (".md", ".markdown", ".mdx")
HTML = (".html", ".htm", ".xhtml")
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
PROSE = (".txt", ".text", ".log")
CODE = frozenset(
    """.py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh .cs
    .go .rs .rb .php .swift .m .mm .r .jl .lua .pl .pm .sh .bash .zsh .fish .ps1 .bat .sql .hs .ml
    .mli .ex .exs .erl .clj .lisp .el .vim .dart .zig .nim .f .f90 .for .pas .asm .s .v .vhd .tex
    .toml .yaml .yml .ini .cfg .conf .css .scss .less .vue .svelte .proto .graphql .tf .cmake
    .gradle .xml .svg .po .cu .pyx .groovy .mk .nix .sol""".split()
)
CODE_NAMES = frozenset(
    "makefile gnumakefile dockerfile containerfile rakefile gemfile jenkinsfile vagrantfile "
    "cmakelists.txt".split()
)
PROSE_NAMES = frozenset(
    "readme license licence copying notice authors changelog changes news todo".split()
)
BINARY_DOCUMENTS = (".pdf", ".docx", ".epub", ".parquet")


def kind_of(name: str) -> str | None:
    """Return how a file is read, or None if it is no document; `x.md.gz` is read as `x.md`.

    >>> kind_of("a/b.md.gz"), kind_of("Makefile"), kind_of("photo.jpg")
    ('markdown', 'code', None)
    """
    path = PurePath(name.lower())
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
        if path.suffix in BINARY_DOCUMENTS:
            return None
    suffix = path.suffix
    if path.name in CODE_NAMES:
        return "code"
    if suffix in MARKDOWN:
        return "markdown"
    if suffix in HTML:
        return "html"
    if suffix in TABLES:
        return "jsonl" if suffix == ".ndjson" else suffix[1:]
    if suffix in PROSE or (not suffix and path.name in PROSE_NAMES):
        return "prose"
    if suffix in (".rst", ".pdf", ".docx", ".epub", ".eml"):
        return suffix[1:]
    return "code" if suffix in CODE else None


def known_formats() -> tuple[str, ...]:
    """Return the names of the formats that can be read."""
    text = ("text", "Markdown", "reStructuredText", "HTML", "PDF", "DOCX", "EPUB", "email")
    return (*text, "source code", "JSONL", "JSON", "CSV", "TSV", "Parquet")
