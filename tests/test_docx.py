"""A DOCX file yields what Word shows of it, and one that Word opens is read."""

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from ettin_cli.corpus.docx import MAX_NESTED
from tests.reading import one, read, why_not

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_R = "http://purl.oclc.org/ooxml/officeDocument/relationships"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def relations(links: dict[str, tuple[str, str]], kinds: str = R) -> str:
    items = "".join(
        f'<Relationship Id="{name}" Type="{kinds}/{kind}" Target="{target}"/>'
        for name, (kind, target) in links.items()
    )
    return f'<Relationships xmlns="{RELATIONS}">{items}</Relationships>'


def write_docx(
    path: Path,
    body: str,
    parts: dict[str, str | bytes] | None = None,
    links: dict[str, tuple[str, str]] | None = None,
    *,
    space: str = W,
    kinds: str = R,
) -> Path:
    """Write a DOCX of a body and other parts, named as in the package."""
    names = f'xmlns:w="{space}" xmlns:r="{kinds}" xmlns:mc="{MC}"'
    root = relations({"rId1": ("officeDocument", "word/document.xml")}, kinds)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_rels/.rels", root)
        file.writestr(
            "word/document.xml", f"<w:document {names}><w:body>{body}</w:body></w:document>"
        )
        file.writestr("word/_rels/document.xml.rels", relations(links or {}, kinds))
        for name, content in (parts or {}).items():
            file.writestr(
                name, content.replace("NAMES", names) if isinstance(content, str) else content
            )
    return path


@pytest.mark.parametrize("target", ["#anchor", "media/gone.png", "../NULL", "NULL"])
def test_a_relation_to_nothing_costs_nothing(tmp_path: Path, target: str) -> None:
    links = {"rId1": ("image", target), "rId2": ("hyperlink", target)}
    path = write_docx(tmp_path / "a.docx", paragraph("The winch is greased."), links=links)
    assert one(path).text == "The winch is greased."


def test_headers_footers_comments_and_notes_follow_the_text(tmp_path: Path) -> None:
    note = f"<w:footnotes NAMES><w:footnote>{paragraph('A note.')}</w:footnote></w:footnotes>"
    comment = (
        f'<w:comments NAMES><w:comment w:author="Ida">{paragraph("Is it?")}</w:comment>'
        f"<w:comment>{paragraph('No name.')}</w:comment></w:comments>"
    )
    head = f"<w:hdr NAMES>{paragraph('Letterhead')}</w:hdr>"
    foot = f"<w:ftr NAMES>{paragraph('Account 99')}</w:ftr>"
    parts: dict[str, str | bytes] = {
        "word/a.xml": head,
        "word/b.xml": head,
        "word/c.xml": foot,
        "word/d.xml": comment,
        "word/e.xml": note,
    }
    links = {
        "r1": ("header", "a.xml"),
        "r2": ("header", "/word/b.xml"),
        "r3": ("footer", "C.xml"),
        "r4": ("comments", "d.xml"),
        "r5": ("footnotes", "e.xml"),
    }
    document = one(write_docx(tmp_path / "a.docx", paragraph("Body."), parts, links))
    expected = ["Body.", "A note.", "Ida: Is it?", "No name.", "Letterhead", "Account 99"]
    assert document.text.split("\n\n") == expected


def test_a_damaged_or_missing_part_costs_only_that_part(tmp_path: Path) -> None:
    parts: dict[str, str | bytes] = {"word/a.xml": "<w:hdr", "word/styles.xml": "<x"}
    links = {"r1": ("header", "a.xml"), "r2": ("footer", "b.xml"), "r3": ("styles", "styles.xml")}
    path = write_docx(tmp_path / "a.docx", paragraph("Body."), parts, links)
    (document,), rejections, _ = read(path)
    assert document.text == "Body."
    reasons = sorted(one.reason for one in rejections)
    assert [reason.split(": ")[0] for reason in reasons] == [
        "word/a.xml cannot be read",
        "word/b.xml is missing",
        "word/styles.xml cannot be read",
    ]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "c.html",
            "<html><body><h1>Agenda</h1><p>Tea at four.</p></body></html>",
            "Agenda\n\nTea at four.",
        ),
        ("c.txt", "Tea <at> four.\n", "Tea <at> four."),
        ("c.rtf", r"{\rtf1\ansi Tea at four.}", "Tea at four."),
        (
            "c.mht",
            "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\n"
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n<p>Tea=20at four.</p>\r\n--x--\r\n",
            "Tea at four.",
        ),
    ],
)
def test_an_inserted_document_is_read_where_it_stands(
    tmp_path: Path, name: str, content: str, text: str
) -> None:
    body = paragraph("Before.") + '<w:altChunk r:id="r1"/>' + paragraph("After.")
    links = {"r1": ("aFChunk", name)}
    path = write_docx(tmp_path / "a.docx", body, {f"word/{name}": content}, links)
    assert one(path).text == f"Before.\n\n{text}\n\nAfter."


def test_inserted_documents_are_read_to_a_bounded_depth(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "0.docx", paragraph("Level 0."))
    for level in range(1, MAX_NESTED + 3):
        parts: dict[str, str | bytes] = {"word/c.docx": path.read_bytes()}
        body = paragraph(f"Level {level}.") + '<w:altChunk r:id="r1"/>'
        links = {"r1": ("aFChunk", "c.docx")}
        path = write_docx(tmp_path / f"{level}.docx", body, parts, links)
    (document,), (rejection,), _ = read(path)
    assert document.text.split("\n\n") == ["Level 5.", "Level 4.", "Level 3.", "Level 2."]
    assert rejection.reason.endswith("documents nested more than 3 deep")


def test_an_inserted_document_that_is_missing_is_named(tmp_path: Path) -> None:
    body = paragraph("Before.") + '<w:altChunk r:id="r1"/><w:altChunk r:id="r2"/>'
    path = write_docx(tmp_path / "a.docx", body, links={"r1": ("aFChunk", "gone.html")})
    (document,), rejections, _ = read(path)
    assert document.text == "Before."
    assert [one.reason for one in rejections] == [
        "inserted document word/gone.html is missing",
        "inserted document r2 is missing",
    ]


def test_the_strict_dialect_is_read_like_the_usual_one(tmp_path: Path) -> None:
    body = paragraph("Scope", '<w:pStyle w:val="X"/>') + paragraph("Body.")
    parts: dict[str, str | bytes] = {
        "word/styles.xml": '<w:styles NAMES><w:style w:type="paragraph" w:styleId="X">'
        '<w:name w:val="heading 2"/></w:style></w:styles>',
        "word/h.xml": f"<w:hdr NAMES>{paragraph('Letterhead')}</w:hdr>",
    }
    links = {"r1": ("styles", "styles.xml"), "r2": ("header", "h.xml")}
    path = tmp_path / "a.docx"
    document = one(write_docx(path, body, parts, links, space=STRICT, kinds=STRICT_R))
    assert (document.title, document.text) == ("Scope", "## Scope\n\nBody.\n\nLetterhead")


def test_without_a_title_or_a_heading_the_title_is_the_file_s_name(tmp_path: Path) -> None:
    assert one(write_docx(tmp_path / "minutes.docx", paragraph("Body."))).title == "minutes"


def test_of_alternatives_the_first_is_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('Boxed.')}</w:txbxContent>"
    old = f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice>{old}</mc:AlternateContent>"
    alone = f"<mc:AlternateContent>{old}</mc:AlternateContent>"
    body = f"<w:p><w:r>{both}</w:r></w:p><w:p><w:r>{alone}</w:r></w:p>"
    assert one(write_docx(tmp_path / "a.docx", body)).text == "Boxed.\n\nBoxed."


def level(depth: int, form: str, text: str, start: int = 1) -> str:
    return (
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/>'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


NUMBERS = (
    '<w:numbering NAMES><w:abstractNum w:abstractNumId="7">'
    + level(0, "decimal", "%1.")
    + level(1, "lowerLetter", "%2)")
    + level(2, "lowerRoman", "%1.%2.%3")
    + '</w:abstractNum><w:abstractNum w:abstractNumId="8">'
    + level(0, "bullet", "\uf0b7")
    + '</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'
    '<w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num><w:num w:numId="3">'
    '<w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/>'
    "</w:lvlOverride></w:num></w:numbering>"
)


def test_paragraphs_have_the_numbers_that_word_shows(tmp_path: Path) -> None:
    places = [
        (1, 0),
        (1, 1),
        (1, 1),
        (1, 2),
        (1, 0),
        (1, 1),
        (2, 0),
        (3, 0),
        (3, 0),
        (0, 0),
        (9, 0),
    ]
    body = "".join(
        paragraph("x", f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{one}"/></w:numPr>')
        for one, depth in places
    )
    parts: dict[str, str | bytes] = {"word/numbering.xml": NUMBERS}
    links = {"r1": ("numbering", "numbering.xml")}
    lines = one(write_docx(tmp_path / "a.docx", body, parts, links)).text.split("\n\n")
    expected = ["1. x", "a) x", "b) x", "1.b.i x", "2. x", "a) x", "x", "5. x", "6. x", "x", "x"]
    assert lines == expected


def test_a_heading_has_the_number_of_its_style(tmp_path: Path) -> None:
    styles = (
        '<w:styles NAMES><w:style w:type="paragraph" w:styleId="H"><w:name w:val="heading 1"/>'
        '<w:basedOn w:val="B"/></w:style><w:style w:type="paragraph" w:styleId="B">'
        '<w:name w:val="Base"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
        "</w:styles>"
    )
    parts: dict[str, str | bytes] = {"word/numbering.xml": NUMBERS, "word/styles.xml": styles}
    links = {"r1": ("numbering", "numbering.xml"), "r2": ("styles", "styles.xml")}
    body = paragraph("Scope", '<w:pStyle w:val="H"/>') + paragraph("Terms", '<w:pStyle w:val="H"/>')
    document = one(write_docx(tmp_path / "a.docx", body, parts, links))
    assert (document.title, document.text) == ("Scope", "# 1. Scope\n\n# 2. Terms")


def test_a_style_based_on_itself_ends(tmp_path: Path) -> None:
    styles = '<w:styles NAMES><w:style w:styleId="A"><w:basedOn w:val="A"/></w:style></w:styles>'
    links = {"r1": ("styles", "styles.xml")}
    body = paragraph("Body.", '<w:pStyle w:val="A"/>')
    path = write_docx(tmp_path / "a.docx", body, {"word/styles.xml": styles}, links)
    assert one(path).text == "Body."


def test_a_package_without_a_body_is_not_a_docx(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as file:
        file.writestr("a.txt", "x")
    assert why_not(tmp_path / "a.docx") == "not a valid DOCX: word/document.xml is missing"
