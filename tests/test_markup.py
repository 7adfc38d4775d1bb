"""AsciiDoc, Org, LaTeX, notebooks and subtitles are read as they are shown, with their places."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.corpus import notebook as notebooks
from ettin_cli.corpus.asciidoc import asciidoc_document
from ettin_cli.corpus.latex import latex_document
from ettin_cli.corpus.notebook import notebook_document
from ettin_cli.corpus.org import org_document
from ettin_cli.corpus.subtitles import subtitles_document
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError
from tests.reading import one, why_not, write

ASCIIDOC = """= The pump
Ida Brandt
:description: How to set pumps
:toc:

// not shown
== Valves [[valves]]

See <<valves,the valves>>, link:a.adoc[page a] and https://example.org[the site].

.Settings
[source,ruby]
----
== no heading
# a comment
----

////
hidden
////

=== Relief

image::valve.png[The valve]
ifdef::x[]
NOTE: Set it to 4 bar.

Older
~~~~~
text
"""


def by_line(document: Document) -> dict[int, str]:
    texts = document.text.split("\n")
    return {n: text for n, text in zip(document.lines, texts, strict=True) if text}


def headings(document: Document) -> list[tuple[int, str, int]]:
    texts = document.text.split("\n")
    assert all(one.text == texts[one.line] for one in document.headings)
    return [(one.level, one.text, document.lines[one.line]) for one in document.headings]


def test_asciidoc_has_its_text_and_sections(tmp_path: Path) -> None:
    found = one(write(tmp_path / "a.adoc", ASCIIDOC))
    assert found.title == "The pump"
    assert found.metadata == {"description": "How to set pumps"}
    assert headings(found) == [
        (1, "The pump", 1),
        (2, "Valves", 7),
        (3, "Relief", 22),
        (3, "Older", 28),
    ]
    assert by_line(found) == {
        1: "The pump",
        2: "Ida Brandt",
        3: "description: How to set pumps",
        7: "Valves",
        9: "See the valves, page a and the site.",
        11: "Settings",
        14: "== no heading",
        15: "# a comment",
        22: "Relief",
        24: "The valve",
        26: "NOTE: Set it to 4 bar.",
        28: "Older",
        30: "text",
    }


ORG = """#+TITLE: The pump
#+AUTHOR: Ida Brandt
#+FILETAGS: :boats:sea:
# not shown
* TODO Valves :hot:oil:
:PROPERTIES:
:ID: 64f1
:END:
See [[file:a.org][page a]] and [[https://example.org]].
#+CAPTION: A table
#+BEGIN_SRC sh
# a comment
#+END_SRC
** Relief
#+begin_quote
Set it to 4 bar.
#+end_quote
"""


def test_org_has_its_text_and_outline(tmp_path: Path) -> None:
    found = one(write(tmp_path / "a.org", ORG))
    assert found.title == "The pump"
    assert found.metadata == {"title": "The pump", "author": "Ida Brandt", "tags": "boats, sea"}
    assert headings(found) == [(1, "TODO Valves hot oil", 5), (2, "Relief", 14)]
    assert by_line(found) == {
        2: "author: Ida Brandt",
        3: "tags: boats, sea",
        5: "TODO Valves hot oil",
        9: "See page a and https://example.org.",
        10: "A table",
        12: "# a comment",
        14: "Relief",
        16: "Set it to 4 bar.",
    }


LATEX = r"""\documentclass[12pt]{article} % a comment
\usepackage{babel}
\title{The \emph{pump}}
\author{Ida M\"uller}
\begin{document}
\maketitle
\section{Valves \& \texorpdfstring{oil}{oil}}\label{sec:valves}
Set it to 4\,bar---or 50\% less, see \ref{fig:a} and \cite[p.~3]{knuth}. % hidden
Caf\'e, na\"{\i}ve, Stra\ss e and $a_{1} \le b$ ``quoted''.
\begin{itemize}
\item \textbf{First} thing
\end{itemize}
\subsection*{Relief
  valve}
\begin{verbatim}
\section{no heading} % kept
\end{verbatim}
\begin{figure}[h]\includegraphics[width=3cm]{valve}\caption{The valve}\end{figure}
\end{document}
after
"""


def test_latex_has_its_text_and_sections(tmp_path: Path) -> None:
    found = one(write(tmp_path / "a.tex", LATEX))
    assert (found.title, found.kind) == ("The pump", "prose")
    assert found.metadata == {"title": "The pump", "author": "Ida Müller"}
    assert headings(found)[0][:1] == (3,)
    assert [(text, line) for _, text, line in headings(found)][1] == ("Relief valve", 13)
    lines = by_line(found)
    assert lines[4] == "author: Ida Müller"
    assert lines[8].startswith("Set it to 4 bar—or 50% less, see")
    assert "hidden" not in lines[8]
    assert lines[9] == "Café, naïve, Straße and $a_{1} \\le b$ “quoted”."
    assert lines[11] == "- First thing"
    assert lines[16] == "\\section{no heading} % kept"
    assert lines[18] == "The valve"
    assert "after" not in found.text


def test_names_of_slides_blocks_and_theorems_are_text() -> None:
    lines = [
        r"\begin{frame}[fragile]{Relief valve}\begin{block}{Note} Wear gloves.\end{block}",
        r"\end{frame}",
        r"\begin{theorem}[Pythagoras] A sum.\end{theorem}",
        r"\section{The \emph{big} idea} begins.",
        r"\date{2020} Written late.",
    ]
    found = latex_document("\n".join(lines), "a")
    assert [heading.text for heading in found.headings] == ["Relief valve", "The big idea"]
    assert found.text.split("\n") == [
        "Relief valve",
        "Note Wear gloves.",
        "",
        "Pythagoras A sum.",
        "The big idea",
        " begins.",
        "",
        " Written late.",
    ]
    assert found.metadata == {"date": "2020"}


def test_verbatim_text_of_latex_is_kept_with_what_is_around_it() -> None:
    lines = [
        r"run \begin{verbatim}% a \b\end{verbatim} after",
        r"% \begin{verbatim}",
        r"\begin{lstlisting}[language=C] int x;",
        r"\section{no}",
        r"\end{lstlisting} done",
        r"\section{Next}",
    ]
    found = latex_document("\n".join(lines), "a")
    assert found.text.split("\n") == [
        r"run % a \b after",
        "",
        "int x;",
        r"\section{no}",
        "done",
        "Next",
    ]
    assert [heading.text for heading in found.headings] == ["Next"]


def test_a_block_of_org_ends_at_a_heading_and_at_its_own_end() -> None:
    unclosed = "* A\n#+begin_comment\nhidden\n* B\nshown"
    assert org_document(unclosed, "a").text == "A\n\n\nB\nshown"
    nested = "#+begin_src org\n#+begin_example\n# x\n#+end_example\n# y\n#+end_src\nz"
    assert org_document(nested, "a").text.strip().split("\n") == [
        "#+begin_example",
        "# x",
        "#+end_example",
        "# y",
        "",
        "z",
    ]


def test_attributes_of_asciidoc_have_their_values() -> None:
    text = "= The {product}\n:product: QX-7\n:full: {product} pump\n\nOil the {full}, not {this}."
    assert asciidoc_document(text, "a").text.endswith("Oil the QX-7 pump, not {this}.")


def test_attributes_that_refer_to_others_do_not_grow_without_bound() -> None:
    grown = [f":a{n}: {f'{{a{n - 1}}}' * 10}" for n in range(1, 12)]
    with pytest.raises(UnreadableError, match="too long"):
        asciidoc_document("\n".join([":a0: harbour", *grown, "{a11}"]), "a")


def test_a_part_of_a_latex_document_is_all_text() -> None:
    found = latex_document("\\chapter{One}\nText.", "a")
    assert (found.title, found.text) == ("One", "One\nText.")


def cell(kind: str, source: object, outputs: list[object] | None = None) -> dict[str, object]:
    return {"cell_type": kind, "source": source, "outputs": outputs or []}


def test_a_notebook_has_its_cells_with_their_outputs_as_pages(tmp_path: Path) -> None:
    cells = [
        cell("markdown", ["# Tides\n", "\n", "Measured daily."]),
        cell(
            "code",
            "# load\nheight = 4.2\nheight",
            [
                {"output_type": "stream", "name": "stdout", "text": ["ready\n"]},
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": ["4.2"], "image/png": "iVBORw0K"},
                },
                {"output_type": "display_data", "data": {"text/html": "<p>High <b>tide</b></p>"}},
                {
                    "output_type": "error",
                    "ename": "E",
                    "evalue": "x",
                    "traceback": ["\x1b[31mE\x1b[0m: x"],
                },
            ],
        ),
        "broken",
        cell("raw", "Raw words"),
    ]
    body = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4}
    found = one(write(tmp_path / "a.ipynb", json.dumps(body)))
    assert (found.title, found.kind, found.lines) == ("Tides", "markdown", ())
    pages: dict[int, list[str]] = {}
    for page, line in zip(found.pages, found.text.split("\n"), strict=True):
        pages.setdefault(page, []).append(line)
    assert {page: "\n".join(filter(None, lines)) for page, lines in pages.items()} == {
        1: "# Tides\nMeasured daily.",
        2: "```python\n# load\nheight = 4.2\nheight\n```\n```\nready\n```\n```\n4.2\n```\n"
        "```\nHigh tide\n```\n```\nE: x\n```",
        4: "Raw words",
    }


def test_notebooks_of_version_3_and_with_nan_are_read() -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "1", "outputs": 3}]}]}
    assert notebook_document(json.dumps(old), "a").text.strip() == "```\n1\n```"
    new = {"cells": [{"cell_type": "markdown", "source": "Words"}], "metadata": {"x": float("nan")}}
    assert notebook_document(json.dumps(new), "a").text.strip() == "Words"


@pytest.mark.parametrize("content", ["[1]", "{}", '{"cells": 1}', "{", "[" * 9000])
def test_what_is_no_notebook_is_rejected(tmp_path: Path, content: str) -> None:
    assert why_not(write(tmp_path / "a.ipynb", content))


def test_a_huge_notebook_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "MAX_JSON_BYTES", 1 << 20)
    content = '{"cells": [{"cell_type": "markdown", "source": "' + "x" * (1 << 20) + '"}]}'
    assert why_not(write(tmp_path / "a.ipynb", content)) == "more than 1 MiB of text"


SRT = """1
00:00:01,000 --> 00:00:04,000
<i>The ferry</i> sails at nine.

2
00:00:05,500 --> 00:00:07,000
- Does it?
{\\an8}- It does.

3
01:00:20,000 --> 01:00:22,000
It does &amp; will.
"""
VTT = """WEBVTT - Boats

STYLE
::cue { color: red }

NOTE not shown

intro
00:01.000 --> 00:04.000 align:start
<v Ida>The <00:02.000><c.red>ferry</c> sails.

00:04.000 --> 00:05.000
Ida: The ferry sails.
again
"""


def test_subtitles_have_their_times_and_lines(tmp_path: Path) -> None:
    assert by_line(one(write(tmp_path / "a.srt", SRT.replace("\n", "\r\n")))) == {
        3: "[0:00:01] The ferry sails at nine.",
        7: "- Does it?",
        8: "- It does.",
        12: "[1:00:20] It does & will.",
    }
    assert by_line(one(write(tmp_path / "a.vtt", VTT))) == {
        10: "[0:00:01] Ida: The ferry sails.",
        14: "again",
    }
    assert why_not(write(tmp_path / "b.srt", "words")) == "not subtitles: no times"


MARKS = st.text(st.sampled_from("\\{}[]%$=-*#:.+/|`'\"<>!&_~ ab1\n\t"), max_size=200)


@given(MARKS)
@settings(max_examples=400, deadline=None)
def test_any_markup_can_be_read(text: str) -> None:
    for read in (asciidoc_document, org_document, latex_document):
        found = read(text, "a")
        assert len(found.lines) == found.text.count("\n") + 1 or not found.lines
        assert list(found.lines) == sorted(found.lines)
        assert all(one.line <= found.text.count("\n") for one in found.headings)


@given(MARKS)
@settings(max_examples=100, deadline=None)
def test_any_subtitles_are_read_or_rejected(text: str) -> None:
    try:
        found = subtitles_document(f"00:01.000 --> 00:02.000\n{text}", "a")
    except UnreadableError:
        return
    assert len(found.lines) <= text.count("\n") + 1


def test_index_entries_of_asciidoc_are_left_out_or_shown() -> None:
    text = "= T\n\n(((locks, gates)))((Gates)) open.(((gates)))\n\n----\n((x))\n----\n"
    shown = asciidoc_document(text, "a").text.split("\n")
    assert shown[2] == "Gates open."
    assert "((x))" in shown
