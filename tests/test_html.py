"""A page yields its visible text, each line with its line number in the source."""

import string

import pytest
from hypothesis import given, strategies as st

from ettin_cli.corpus.html import html_document
from ettin_cli.records import Document


def page(text: str) -> Document:
    return html_document(text, "page.html")


def lines(text: str) -> list[str]:
    return page(text).text.split("\n")


def places(text: str) -> dict[str, int]:
    document = page(text)
    return dict(zip(document.text.split("\n"), document.lines, strict=True))


WORD = st.text(string.ascii_lowercase, min_size=1, max_size=5)
TAG = st.sampled_from(["p", "div", "li", "h2", "td", "blockquote", "option", "section"])
SPACE = st.sampled_from(
    ["\n", " ", "\n\n", "\n<!-- a\ncomment -->\n", "<br>", "\n<script>x\n</script>"]
)


@given(st.lists(st.tuples(TAG, WORD, SPACE), min_size=1, max_size=12))
def test_every_line_is_where_it_says(blocks: list[tuple[str, str, str]]) -> None:
    source, expected = "<html>\n<body>", []
    for number, (tag, word, space) in enumerate(blocks):
        source += f'<{tag}\nclass="x">'
        expected.append((f"{word}{number}", source.count("\n") + 1))
        source += f"{word}{number}</{tag}>{space}"
    document = page(source)
    found = zip(document.text.split("\n"), document.lines, strict=True)
    assert [(line, place) for line, place in found if line] == expected


@given(st.lists(WORD, min_size=1, max_size=8))
def test_a_line_over_several_lines_has_the_first_of_them(words: list[str]) -> None:
    document = page("<p>\n\n" + "\n".join(words) + "\n</p><p>end")
    assert document.text == " ".join(words) + "\n\nend"
    assert list(document.lines) == [3, 2 + len(words) + 1, 2 + len(words) + 1]


MARKUP = st.text(st.sampled_from("<>!/-[]&;#='\"? \nabpCDTA"), max_size=60)
PIECES = st.sampled_from(
    [
        "<![",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<!",
        "</",
        "<p",
        "<pre>",
        "&#x0;",
        "&#",
        "<svg>",
        "<?",
    ]
)


@given(st.lists(st.one_of(MARKUP, PIECES), max_size=12).map("".join))
def test_no_markup_is_too_broken_to_read(markup: str) -> None:
    document = page(markup)
    assert len(document.lines) == (document.text.count("\n") + 1 if document.text else 0)
    assert all(1 <= line <= markup.count("\n") + 1 for line in document.lines)
    assert list(document.lines) == sorted(document.lines)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a<br>b", "a\nb"),
        ("a <b>bold</b> word", "a bold word"),
        ("<td>one<td>two", "one\ntwo"),
        ("<select><option>One</option><option>Two</option></select>", "One\nTwo"),
        ("<button>Yes</button><button>No</button>", "Yes\nNo"),
        ("&lt;p&gt; &amp; &eacute;&#8364;&#x20ac;", "<p> & é€€"),
        ("a&nbsp;b", "a b"),
        ("<p>a<style>p {}</style>b<script>x()</script>c", "abc"),
        ("<noscript>off</noscript>on", "on"),
        (
            "<svg><title>no</title><text>drawn <tspan>text</tspan></text></svg>seen",
            "drawn text\nseen",
        ),
        (
            "<svg><text x=1>one</text><path d='M0'/><text>two</text><desc>no</desc></svg>",
            "one\ntwo",
        ),
        ("<p>a<script src=x></script\n<!-- c -->b", "ab"),
        ("<script>x</scripty>gone</script a=1>b<style>p{}</STYLE/>c", "bc"),
        ("<script>x</script <p>", ""),
        ("auto&shy;no\xadmous", "autonomous"),
        ("<div><svg class=x><use href='#a'/></div><p>seen", "seen"),
        ("<svg><path d='M0'><p>seen</p>", "seen"),
        ("<svg><style>.a{}</svg><p>seen</p>", "seen"),
        ("<p><svg><script>x</p>seen", "seen"),
        ("<svg><foreignObject><p>drawn</p></foreignObject></svg>seen", "drawn\nseen"),
        ("<object data=x><p>seen", "seen"),
        ("<object>gone</object>seen<object>also", "seenalso"),
        ("<head><title>T</title><span>seen</span>", "seen"),
        ("<head><title>T</title>seen", "seen"),
        ("<p>one<script>x <p>gone", "one"),
        ("<p>one<script src=x />two", "onetwo"),
        ('<p>A<img src=x alt="red &amp; blue">B', "A red & blue B"),
        ('<map><area alt="North"></map><img alt=""><img alt>', "North"),
        ("<table><tr><th>Day<th>Hours<tr><td>Monday<td>9-17</table>", "Day | Hours\nMonday | 9-17"),
        ("<table><caption>Open</caption><tr><td>a<td><td>c<td></table>", "Open\na |  | c"),
        ("<table><tr><td><p>a</p></td><td><p>b</p>c</td></tr></table>", "a | b c"),
        ("<table><td>a<td>b</table>c", "a | b\n\nc"),
        (
            "<table><tr><td>a<td>b<td><ul><li>c<li>d</ul><td>e<td>f</table>",
            "a | b\n\nc\nd\n\ne | f",
        ),
        (
            "<table><tr><td>m<td>n<td><table><tr><td>a<td>b</table><tr><td>c<td>d</table>",
            "m | n\n\na | b\n\nc | d",
        ),
        (f"<table><tr><td>a<td>{'x' * 501}</table>", f"a\n{'x' * 501}"),
        ("<p>one<!-- <p>two -->three", "onethree"),
        ("<p>1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("<![if !supportLists]>1. <![endif]>first", "1. first"),
        ("<p><![CDATA[a < b]]></p>", "a < b"),
        ("<ul><li>one<ul><li>two</ul><li>three</ul>", "one\n\ntwo\n\nthree"),
        ("", ""),
        ("   \n ", ""),
        ("<p></p><p> </p>", ""),
    ],
)
def test_text_reads_as_a_page_shows_it(source: str, text: str) -> None:
    assert page(source).text == text


def test_preformatted_text_keeps_its_lines_and_spaces() -> None:
    source = "<p>before\n<pre>\n  one\n\n    two &lt;\n</pre>after"
    assert lines(source) == ["before", "", "  one", "", "    two <", "", "after"]
    assert places(source)["    two <"] == 5


@pytest.mark.parametrize(
    "source",
    [
        "<html><head><title>T</title><meta charset=utf-8><h1>Hello</h1><p>words",
        "<html><head><title>T<body><h1>Hello</h1><p>words",
        "<title>T</title><h1>Hello</h1><p>words</html>",
        "<html><head><title>T</title><body><h1>Hello</h1><p>words",
    ],
)
def test_a_page_whose_head_is_never_closed_is_still_heard(source: str) -> None:
    document = page(source)
    assert (document.title, document.text) == ("T", "Hello\n\nwords")


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("<title> A\n title </title><h1>Head</h1>", "A title"),
        ("<title></title><h1>A <i>head</i></h1><h1>Second</h1>", "A head"),
        ("<svg><title>icon</title></svg><p>text", ""),
        ("<svg><title>icon</title></svg><h1>Head</h1>", "Head"),
        ("<title>First</title><title>Second</title>", "First"),
        ("<title>A &amp; B</title>", "A & B"),
        ("<h2>Not this</h2>", ""),
    ],
)
def test_the_title_is_the_page_s_own_else_its_first_heading(source: str, title: str) -> None:
    assert page(source).title == title


def test_headings_are_those_of_the_page_with_their_lines() -> None:
    page = "<title>T</title><h1>One</h1><p>a</p><h3>Two <b>bold</b></h3><p>b</p><h2></h2><h2>Three"
    found = html_document(page, "a")
    texts = found.text.split("\n")
    assert [(one.level, one.text) for one in found.headings] == [(1, "One"), (3, "Two bold")]
    assert [texts[one.line] for one in found.headings] == ["One", "Two bold"]


def test_a_page_whose_text_is_for_browsers_without_scripts_has_that_text() -> None:
    article = "The lock keeper opens the lower gate at eight. " * 20
    page = f"<p>Menu<noscript><img alt=drawn><p>{article}</noscript><p>{{}}"
    assert article.strip() in html_document(page.format("Imprint"), "a").text
    read = html_document(page.format("The page has its own text. " * 60), "a").text
    assert "lock keeper" not in read
