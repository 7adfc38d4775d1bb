"""Slides of PPTX and ODP are pages, with their tables, diagrams and notes."""

import zipfile
from pathlib import Path

import pytest

from tests.reading import one, read
from tests.test_docx import relations

A = "http://schemas.openxmlformats.org/drawingml/2006/main"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
NAMES = f'xmlns:a="{A}" xmlns:p="{P}" xmlns:r="{R}"'
OFFICE = "urn:oasis:names:tc:opendocument:xmlns:"


def shape(text: str, kind: str = "") -> str:
    place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f"<p:sp>{place}<p:txBody>{lines}</p:txBody></p:sp>"


def slide(*shapes: str) -> str:
    return f"<p:sld {NAMES}><p:cSld><p:spTree>{''.join(shapes)}</p:spTree></p:cSld></p:sld>"


def write_pptx(path: Path, order: list[str], parts: dict[str, str]) -> Path:
    listed = "".join(f'<p:sldId id="{at}" r:id="{name}"/>' for at, name in enumerate(order))
    links = {name: ("slide", f"slides/{name}.xml") for name in order}
    with zipfile.ZipFile(path, "w") as file:
        main = {"m": ("officeDocument", "ppt/presentation.xml")}
        file.writestr("_rels/.rels", relations(main))
        file.writestr(
            "ppt/presentation.xml",
            f"<p:presentation {NAMES}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        )
        file.writestr("ppt/_rels/presentation.xml.rels", relations(links))
        for name, content in parts.items():
            file.writestr(f"ppt/{name}", content)
    return path


def test_slides_are_pages_in_the_order_of_the_presentation(tmp_path: Path) -> None:
    table = "<a:tbl><a:tr>" + "".join(
        f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"
        for text in ("Rope", "9")
    )
    parts = {
        "slides/s1.xml": slide(shape("Second"), f"{table}</a:tr></a:tbl>", shape("7", "sldNum")),
        "slides/s2.xml": slide(shape("Plan", "ctrTitle"), shape("by Ida\nin May")),
        "slides/_rels/s1.xml.rels": relations(
            {"n": ("notesSlide", "../notes/n1.xml"), "c": ("chart", "../charts/c.xml")}
        ),
        "notes/n1.xml": slide(shape("Say hello", "body"), shape("", "sldImg")),
        "charts/c.xml": "<c:chartSpace xmlns:c='c'><c:strCache><c:pt><c:v>East</c:v></c:pt>"
        "<c:pt><c:v>West</c:v></c:pt></c:strCache></c:chartSpace>",
    }
    document = one(write_pptx(tmp_path / "a.pptx", ["s2", "s1"], parts))
    assert document.title == "Plan"
    assert list(zip(document.text.split("\n"), document.pages, strict=True)) == [
        ("Plan", 1),
        ("by Ida", 1),
        ("in May", 1),
        ("", 1),
        ("Second", 2),
        ("Rope | 9", 2),
        ("East | West", 2),
        ("Say hello", 2),
    ]


def test_a_missing_or_damaged_slide_costs_only_itself(tmp_path: Path) -> None:
    parts = {"slides/s1.xml": slide(shape("First")), "slides/s2.xml": "<p:sld"}
    path = write_pptx(tmp_path / "a.pptx", ["s2", "s3", "s1"], parts)
    (document,), rejections, _ = read(path)
    assert (document.text, list(document.pages)) == ("First", [3])
    reasons = sorted(one.reason.split(":")[0] for one in rejections)
    assert reasons == ["ppt/slides/s2.xml cannot be read", "ppt/slides/s3.xml is missing"]


def write_odf(path: Path, kind: str, body: str, parts: dict[str, str] | None = None) -> Path:
    names = " ".join(
        f'xmlns:{name}="{OFFICE}{name}:1.0"'
        for name in ("office", "text", "table", "style", "presentation")
    )
    names += f' xmlns:draw="{OFFICE}drawing:1.0"'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body><office:{kind}>{body}"
            f"</office:{kind}></office:body></office:document-content>",
        )
        for name, content in (parts or {}).items():
            file.writestr(name, content.replace("NAMES", names))
    return path


def test_slides_of_opendocument_are_pages_with_their_notes(tmp_path: Path) -> None:
    body = "".join(
        f"<draw:page><draw:frame><draw:text-box><text:p>{text}</text:p></draw:text-box>"
        f"</draw:frame><presentation:notes><text:p>Note {text}</text:p></presentation:notes>"
        "</draw:page>"
        for text in ("One", "Two")
    )
    document = one(write_odf(tmp_path / "a.odp", "presentation", body))
    assert document.text.split("\n") == ["One", "Note One", "", "Two", "Note Two"]
    assert list(document.pages) == [1, 1, 1, 2, 2]


def test_an_opendocument_text_is_read_with_its_notes_and_headers(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Scope</text:h>'
        '<text:p>A<text:s text:c="2"/>winch<text:note><text:note-citation>1</text:note-citation>'
        "<text:note-body><text:p>Greased.</text:p></text:note-body></text:note>"
        "<text:tab/>turns<text:line-break/>left <text:span>well</text:span>.</text:p>"
        "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
        "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>a"
        "</text:p></table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell>"
        "</table:table-row></table:table-header-rows></table:table>"
        "<text:p><office:annotation><text:p>Why?</text:p></office:annotation></text:p>"
    )
    styles = (
        "<office:document-styles NAMES><office:master-styles><style:master-page><style:header>"
        "<text:p>Letterhead</text:p></style:header></style:master-page></office:master-styles>"
        "</office:document-styles>"
    )
    document = one(write_odf(tmp_path / "a.odt", "text", body, {"styles.xml": styles}))
    assert document.title == "Scope"
    assert document.text.split("\n\n") == [
        *("## Scope", "A  winch\tturns\nleft well.", "item", "a | b", "Greased.", "Why?"),
        "Letterhead",
    ]


@pytest.mark.parametrize("suffix", ["odt", "ods", "odp"])
def test_an_encrypted_opendocument_needs_its_password(tmp_path: Path, suffix: str) -> None:
    manifest = "<m><file-entry><encryption-data/></file-entry></m>"
    path = write_odf(tmp_path / f"a.{suffix}", "text", "", {"META-INF/manifest.xml": manifest})
    _, (rejection,), _ = read(path)
    assert rejection.reason == "needs a password"
