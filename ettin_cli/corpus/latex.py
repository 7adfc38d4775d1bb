"""LaTeX -> its text, with the headings of its sections; formulas stay as they are written."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.markup import Lines
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document

_SECTIONS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_SECTION = re.compile(
    rf"\\({'|'.join(_SECTIONS)}|subparagraph|frametitle)\*?\s*(?:\[[^\[\]]*\])?\{{"
)
_DESCRIBED = re.compile(r"\\(title|author|date|keywords|subtitle)\s*(?:\[[^\[\]]*\])?\{")
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")
_BEGIN = re.compile(r"\\begin\s*\{document\}")
_END = re.compile(r"\\end\s*\{document\}")
_VERBATIM = re.compile(r"\\(begin|end)\{(verbatim\*?|lstlisting|minted|Verbatim|alltt)\}")
_FRAME = re.compile(r"\\begin\{(frame)\}(?:<[^<>]*>)?(?:\[[^\[\]]*\])?\{")
# The names of blocks and theorems.
_BLOCK = re.compile(r"\\begin\{(?:alert|example)?block\}(?:<[^<>]*>)?(?=\{)")
_THEOREM = re.compile(
    r"\\begin\{(?:theorem|lemma|proposition|corollary|definition|example|remark|proof|claim"
    r"|conjecture|exercise|problem|solution|question|answer)\*?\}\[([^\[\]]*)\]"
)
_OPTIONS = re.compile(r"(?:\[[^\[\]]*\]|\{[^{}]*\})*")
# Commands whose arguments are no text.
_UNSEEN = re.compile(
    r"\\(?:label|(?:auto|eq|page|name|[cC])?ref|[a-zA-Z]*cite[a-zA-Z]*|includegraphics|input|include"
    r"|usepackage|RequirePackage|documentclass|begin|end|[vh]space|bibliography(?:style)?|pagestyle"
    r"|thispagestyle|setlength|addtolength|setcounter|addtocounter|newcommand|renewcommand|def"
    r"|color|hypersetup|graphicspath|addbibresource|numberwithin|newtheorem|index|rule|selectfont"
    r"|fontsize|geometry|usetheme|usetikzlibrary|DeclareMathOperator|hyphenation)\*?"
    r"(?:\s?\[[^\[\]]*\]|\{[^{}]*\})*"
)
_ACCENT = re.compile(
    r"\\([`'^\"~=.uvHckr])\s?(?:\{\\?([A-Za-z])\}|\\?([A-Za-z](?![A-Za-z])|(?<![a-zA-Z])[A-Za-z]))"
)
_MARKS = dict(
    zip(
        "`'^\"~=.uvHckr",
        map(
            chr,
            (
                0x300,
                0x301,
                0x302,
                0x308,
                0x303,
                0x304,
                0x307,
                0x306,
                0x30C,
                0x30B,
                0x327,
                0x328,
                0x30A,
            ),
        ),
        strict=True,
    )
)
_HREF = re.compile(r"\\href\s*\{[^{}]*\}")
_SPACE = re.compile(r"\\[\\,;: ]")
_PDF_STRING = re.compile(r"\\texorpdfstring\{([^{}]*)\}\{[^{}]*\}")
_ESCAPED = re.compile(r"\\([%&$#_{}])")
_COMMAND = re.compile(r"\\[a-zA-Z@]+\*?(?:\[[^\[\]]*\])?\s?|\\[^a-zA-Z]")
_LETTERS = {
    "ss": "ß",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "o": "ø",
    "O": "Ø",
    "aa": "å",
    "AA": "Å",
    "l": "ł",
    "L": "Ł",
    "i": "i",
    "j": "j",
    "LaTeX": "LaTeX",
    "TeX": "TeX",
    "ldots": "…",
    "dots": "…",
    "textendash": "–",
    "textemdash": "—",
    "item": "-",
    "S": "§",
    "copyright": "©",
    "pounds": "£",
    "euro": "€",
    "textbackslash": "\\",
    "quad": " ",
    "newline": " ",
}
_LETTER = re.compile(
    rf"\\({'|'.join(sorted(_LETTERS, key=len, reverse=True))})(?![a-zA-Z])(?:\{{\}}|[ ])?"
)
_MATH = re.compile(r"(\$\$?[^$]*\$\$?|\\\([^()]*\\\))")
_DASHES = (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("~", " "))
MOST_HEADING = 1000


def latex_document(text: str, doc_id: str) -> Document:
    """Return a document's text; a part of one, without a preamble, is read too."""
    found, lines = Lines(), text.split("\n")
    begins = [number for number, line in enumerate(lines) if _BEGIN.search(_COMMENT.sub("", line))]
    first = begins[0] + 1 if begins else 0
    for number in range(first):
        _describe(found, lines, number)
    verbatim = False
    for number in range(first, len(lines)):
        line = lines[number]
        shown = line if verbatim else _COMMENT.sub(r"\1", line)
        if _VERBATIM.search(shown):
            verbatim = _add_verbatim(found, line, number, verbatim=verbatim)
        elif verbatim:
            found.add(line, number + 1)
        elif begins and _END.search(line):
            break
        else:
            _add(found, lines, number)
    return found.document(doc_id)


def _add_verbatim(found: Lines, line: str, number: int, *, verbatim: bool) -> bool:
    """Add a line in which verbatim text begins or ends; return whether it goes on after it."""
    pieces: list[str] = []
    while mark := _VERBATIM.search(line if verbatim else _COMMENT.sub(r"\1", line)):
        if (mark[1] == "end") != verbatim:
            pieces.append(line[: mark.end()])
            line = line[mark.end() :]
            continue
        piece, line = line[: mark.start()], line[mark.end() :]
        pieces.append(piece if verbatim else _shown(piece))
        verbatim = not verbatim
        options = _OPTIONS.match(line) if verbatim else None
        line = line[options.end() :] if options else line
    pieces.append(line if verbatim else _shown(_COMMENT.sub(r"\1", line)))
    found.add(" ".join(filter(None, map(str.strip, pieces))), number + 1)
    return verbatim


def _describe(found: Lines, lines: list[str], number: int) -> str:
    """Add what a line says about the document, and return the rest of the line."""
    line = rest = _COMMENT.sub(r"\1", lines[number])
    for described in _DESCRIBED.finditer(line):
        argument = _argument(lines, number, described.end())
        found.describe(described[1], _shown(argument), number + 1)
        rest = rest.replace(f"{described[0]}{argument}}}", "").replace(described[0], "")
    return rest


def _add(found: Lines, lines: list[str], number: int) -> None:
    before = len(found.texts)
    line = _describe(found, lines, number)
    if section := _SECTION.search(line) or _FRAME.search(line):
        argument = _argument([line, *lines[number + 1 : number + 5]], 0, section.end())
        kind = section[1]
        level = _SECTIONS.index(kind) + 1 if kind in _SECTIONS else len(_SECTIONS) + 1
        if heading := _shown(argument):
            found.heading(level, heading, number + 1)
        line = line[: section.start()] + line[section.end() :].removeprefix(f"{argument}}}")
    shown = _shown(_BLOCK.sub("", _THEOREM.sub(r"\1", line))).rstrip()
    if shown or len(found.texts) == before:
        found.add(shown, number + 1)


def _argument(lines: list[str], number: int, begin: int) -> str:
    """Return what stands up to the closing brace, which may be on a later line."""
    text = _COMMENT.sub(r"\1", lines[number])[begin:]
    for more in (*lines[number + 1 : number + 5], "}"):
        depth = 1
        for at, character in enumerate(text[:MOST_HEADING]):
            escaped = at and text[at - 1] == "\\"
            depth += 0 if escaped else (character == "{") - (character == "}")
            if not depth:
                return text[:at]
        text += " " + more.strip()
    return text[:MOST_HEADING]


def _shown(line: str) -> str:
    """Return a line of LaTeX as it is printed, except for formulas."""
    if "\\" not in line and "~" not in line and "{" not in line and "--" not in line:
        return line
    pieces = _MATH.split(line)
    for at in range(0, len(pieces), 2):
        pieces[at] = _plain(pieces[at])
    return "".join(pieces).strip()


def _plain(text: str) -> str:
    text = _PDF_STRING.sub(r"\1", _SPACE.sub(" ", text))
    text = _UNSEEN.sub("", _HREF.sub("", text))
    text = _ACCENT.sub(_accented, text)
    text = _LETTER.sub(lambda match: _LETTERS[match[1]] + (" " if match[1] == "item" else ""), text)
    for written, shown in _DASHES:
        text = text.replace(written, shown)
    # Escaped characters are put aside from braces and commands.
    text = _ESCAPED.sub(lambda match: chr(0xE000 + ord(match[1])), text)
    text = _COMMAND.sub("", text).replace("{", "").replace("}", "")
    return re.sub("[\ue023-\ue07d]", lambda match: chr(ord(match[0]) - 0xE000), text)


def _accented(match: re.Match[str]) -> str:
    letter = match[2] or match[3]
    return unicodedata.normalize("NFC", letter + _MARKS[match[1]])


def _read(path: Path, doc_id: str) -> Document:
    return latex_document(read_text(path), doc_id)


LATEX = DocumentReader(name="LaTeX", suffixes=(".tex", ".ltx"), read=_read, compressed=True)
