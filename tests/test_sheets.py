"""A row of a spreadsheet is a line with the header of each column, and bombs are not read."""

import zipfile
from datetime import date
from pathlib import Path

import pytest

from ettin_cli.corpus import sheets
from ettin_cli.settings import MAX_COLUMNS
from tests.reading import one, read, why_not
from tests.test_docx import relations
from tests.test_slides import write_odf

S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def inline(text: str, place: str = "") -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def rows(*lines: list[str]) -> str:
    return "".join(f"<row>{''.join(cells)}</row>" for cells in lines)


def write_xlsx(
    path: Path, found: dict[str, str], parts: dict[str, str] | None = None, links: str = ""
) -> Path:
    """Write a workbook of the sheets' rows by the sheets' names."""
    listed = "".join(f'<sheet name="{name}" r:id="r{at}"/>' for at, name in enumerate(found))
    targets = {f"r{at}": ("worksheet", f"worksheets/{at}.xml") for at in range(len(found))}
    targets |= {"s": ("styles", "styles.xml"), "t": ("sharedStrings", "sharedStrings.xml")}
    empty = {"xl/styles.xml": f'<styleSheet xmlns="{S}"/>', "xl/sharedStrings.xml": "<sst/>"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_rels/.rels", relations({"m": ("officeDocument", "xl/workbook.xml")}))
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{listed}</sheets></workbook>',
        )
        file.writestr("xl/_rels/workbook.xml.rels", relations(targets))
        for at, content in enumerate(found.values()):
            if content:
                sheet = f'<worksheet xmlns="{S}"><sheetData>{content}</sheetData></worksheet>'
                file.writestr(f"xl/worksheets/{at}.xml", sheet)
        for name, text in (empty | (parts or {})).items():
            file.writestr(name, text)
    return path


def test_a_row_is_a_line_with_headers_and_a_sheet_a_page(tmp_path: Path) -> None:
    first = rows(
        [inline("Harbour"), inline("Height")],
        [inline("Dunmere"), "<c><v>4.2</v></c>"],
        [],
        ['<c r="B9"><v>0.30000000000000004</v></c>'],
    )
    path = write_xlsx(tmp_path / "a.xlsx", {"Tides": first, "Sheet2": rows([inline("alone")])})
    document = one(path)
    assert list(zip(document.text.split("\n"), document.pages, strict=True)) == [
        ("Tides", 1),
        ("Harbour | Height", 1),
        ("Harbour: Dunmere | Height: 4.2", 1),
        ("Height: 0.3", 1),
        ("", 1),
        ("alone", 2),
    ]


def test_values_are_shown_by_their_type_and_format(tmp_path: Path) -> None:
    days = (date(2024, 3, 5) - date(1899, 12, 30)).days
    styles = (
        f'<styleSheet xmlns="{S}"><numFmts><numFmt numFmtId="170" formatCode="[$-409]d\\-mmm;@"/>'
        '<numFmt numFmtId="171" formatCode="0.00&quot;days&quot;"/></numFmts><cellXfs>'
        '<xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/><xf numFmtId="171"/>'
        '<xf numFmtId="9"/><xf numFmtId="20"/></cellXfs></styleSheet>'
    )
    strings = (
        f'<sst xmlns="{S}"><si><t>plain</t></si><si><r><t>rich </t></r><r><t>text</t></r>'
        "<rPh><t>reading</t></rPh></si></sst>"
    )
    cells = [
        '<c t="s"><v>0</v></c>',
        '<c t="s"><v>1</v></c>',
        '<c t="b"><v>1</v></c>',
        '<c t="e"><v>#N/A</v></c>',
        '<c t="str"><f>A1</f><v>made</v></c>',
        f'<c s="1"><v>{days}</v></c>',
        f'<c s="2"><v>{days + 0.25}</v></c>',
        '<c s="3"><v>2.5</v></c>',
        '<c s="4"><v>0.125</v></c>',
        '<c s="5"><v>0.75</v></c>',
        '<c s="1"><v>1</v></c>',
        "<c><v>12345678901234567</v></c>",
        '<c s="1"><v>1e99</v></c>',
    ]
    parts = {"xl/styles.xml": styles, "xl/sharedStrings.xml": strings}
    text = one(write_xlsx(tmp_path / "a.xlsx", {"Sheet1": rows(cells)}, parts)).text

    assert text.split(" | ") == [
        *("plain", "rich text", "TRUE", "#N/A", "made", "2024-03-05", "2024-03-05 06:00", "2.5"),
        *("12.5%", "18:00", "1900-01-01", "12345678901234567", "1e99"),
    ]


def test_a_missing_sheet_costs_only_itself(tmp_path: Path) -> None:
    found = {"Gone": "", "Here": rows([inline("word")]), "Cut": "<row><c"}
    (document,), rejections, _ = read(write_xlsx(tmp_path / "a.xlsx", found))
    assert document.text.split("\n") == ["Gone", "", "Here", "word", "", "Cut"]
    assert rejections[0].reason == 'sheet "Gone" is missing'
    assert rejections[1].reason.startswith('sheet "Cut" cannot be read: ')


def test_a_sheet_of_a_million_columns_is_not_read(tmp_path: Path) -> None:
    wide = rows([inline("kept")], ["<c><v>1</v></c>"] * 1_000_000)
    (document,), (rejection,), _ = read(write_xlsx(tmp_path / "a.xlsx", {"Sheet1": wide}))
    assert document.text == "kept"
    assert rejection.reason == 'sheet "Sheet1" cannot be read: more than 10,000 columns'
    far = rows([inline("far", "ZZZ1048576")])
    assert one(write_xlsx(tmp_path / "b.xlsx", {"Sheet1": far})).text == "far"


def test_a_string_repeated_without_end_is_not_read_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAX_TEXT_BYTES", 1 << 20)
    strings = f'<sst xmlns="{S}"><si><t>{"a" * 100_000}</t></si></sst>'
    many = rows(*[['<c t="s"><v>0</v></c>'] * 100] * 100)
    path = write_xlsx(tmp_path / "a.xlsx", {"Sheet1": many}, {"xl/sharedStrings.xml": strings})
    assert why_not(path) == "more than 1 MiB of text"


def cell(text: str, times: int = 1) -> str:
    return (
        f'<table:table-cell table:number-columns-repeated="{times}"><text:p>{text}</text:p>'
        "</table:table-cell>"
    )


def table(name: str, *lines: str, times: int = 1) -> str:
    found = "".join(
        f'<table:table-row table:number-rows-repeated="{times}">{line}</table:table-row>'
        for line in lines
    )
    return f'<table:table table:name="{name}">{found}</table:table>'


def test_rows_of_opendocument_have_their_headers(tmp_path: Path) -> None:
    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    body = table("Tides", cell("A") + cell("B"), cell("1", 2) + empty, times=1_048_576)
    body += table(
        "Sheet2", cell("x") + cell("y") + cell("z"), "<table:covered-table-cell/>" + cell("9")
    )
    document = one(write_odf(tmp_path / "a.ods", "spreadsheet", body))
    lines = ["Tides", "A | B", "A: 1 | B: 1", "", "x | y | z", "y: 9"]
    assert document.text.split("\n") == lines
    assert list(document.pages) == [1, 1, 1, 1, 2, 2]


def test_a_cell_repeated_a_million_times_is_not_read(tmp_path: Path) -> None:
    body = table("Sheet1", cell("kept"), cell("x", MAX_COLUMNS + 1)) + table("Two", cell("on"))
    (document,), (rejection,), _ = read(write_odf(tmp_path / "a.ods", "spreadsheet", body))
    assert document.text.split("\n") == ["kept", "", "Two", "on"]
    assert rejection.reason == 'sheet "Sheet1" cannot be read: more than 10,000 columns'
