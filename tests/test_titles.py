"""The first heading is the title, and front matter is separated from the text."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ettin_cli.corpus.front_matter import front_matter
from ettin_cli.corpus.titles import markdown_title, rst_title
from tests.reading import one, why_not, write


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Title", "Title"),
        ("text\n\n## Title ##\n# Second", "Title"),
        ("   # Title", "Title"),
        ("#\tTitle\t", "Title"),
        ("# Learning C#", "Learning C#"),
        ("# C# #", "C#"),
        ("# a#b", "a#b"),
        ("#no\n    # code\n####### seven\n# yes", "yes"),
        ("#\n# #\n#  \n# yes", "yes"),
        ("Title\n=====", "Title"),
        ("Title\n-", "Title"),
        ("\n=====\n# yes", "yes"),
        ("- item\n---\n1. one\n---\n> said\n---\n| a |\n---\n# yes", "yes"),
        ("<!-- licence -->\n---\n# yes", "yes"),
        ("```\n# no\nno\n--\n```\n# yes", "yes"),
        ("````\n```\n# no\n```\n````\n# yes", "yes"),
        ("~~~\n```\n# no\n~~~\n# yes", "yes"),
        ("```inline``` is no fence\n\n# yes", "yes"),
        ("```python title=x\n# no\n```\n# yes", "yes"),
        ("```\n# never closed", ""),
        ('<h1 align="center">Big <b>Ti&amp;tle</b></h1>\n\n# no', "Big Ti&tle"),
        ("<h1>\n  <img src=a>\n  Deep\n</h1>\ntext", "Deep"),
        ('<h1><img alt="Logo"></h1>\n\n# yes', "yes"),
        ("<h1>never closed\n\n# yes", "yes"),
        ("```\n<h1>no</h1>\n```\n# yes", "yes"),
        ("plain\n\ntext", ""),
        ("", ""),
    ],
)
def test_the_first_heading_is_the_title(text: str, title: str) -> None:
    assert markdown_title(text) == title


@given(st.text(st.sampled_from("# \tab=-`~>"), max_size=80))
def test_a_title_is_one_line_of_its_text(text: str) -> None:
    title = markdown_title(text)
    assert title == title.strip(" \t")
    assert title in text


def test_a_heading_of_many_spaces_and_marks_is_read_at_once() -> None:
    spaces = " " * 50_000
    assert markdown_title(f"# a{spaces}b") == f"a{spaces}b"
    assert markdown_title("# a" + "#" * 50_000 + "b\n") == "a" + "#" * 50_000 + "b"


@pytest.mark.parametrize(
    ("text", "count", "title"),
    [
        ("---\ntitle: A\n---\ntext", 3, "A"),
        ("---\ntitle: 'A: B'\ntags:\n  - x\n- y\n\n# note\n...\ntext", 8, "A: B"),
        ("---\n---\ntext", 2, ""),
        ("---\ntitle:\n---\n", 3, ""),
        ("---\n{{ card }}\n---\n", 3, ""),
        ("---\r\ntitle: A\n---", 3, "A"),
        ("---\nPlain words, then a rule.\n---\ntext", 0, ""),
        ("---\ntitle: never closed", 0, ""),
        ("text\n---\ntitle: A\n---", 0, ""),
        ("----\ntitle: A\n----", 0, ""),
        ("", 0, ""),
    ],
)
def test_front_matter_is_yaml_between_two_rules(text: str, count: int, title: str) -> None:
    found = front_matter(text.replace("\r", ""))
    assert (found.lines, found.title) == (count, title)


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_front_matter_leaves_the_body_and_its_lines(tmp_path: Path, end: str) -> None:
    document = one(write(tmp_path / "a.md", "---\ntitle: Front\n---\n# Head\n\ntext" + end))
    assert (document.title, document.text) == ("Front", "# Head\n\ntext" + end)
    assert list(document.lines)[:3] == [4, 5, 6]
    only = one(write(tmp_path / "b.md", "---\ntitle: Front\n---" + end))
    assert (only.title, only.text.strip()) == ("Front", "")
    assert why_not(write(tmp_path / "c.md", "---\n---" + end)) == "empty"


def test_text_between_two_rules_is_not_lost(tmp_path: Path) -> None:
    text = "---\nWords that stand between two rules.\n---\nmore"
    assert one(write(tmp_path / "a.md", text)).text == text


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Title\n=====\n", "Title"),
        ("=====\nTitle\n=====\n", "Title"),
        ("=======\n Title\n=======\n", "Title"),
        (".. note::\n\n   x\n\nTitle\n*****\n", "Title"),
        ("Too long a title\n====\n\nTitle\n-----\n", "Title"),
        ("日本\n====\n", "日本"),
        ("====\n----\n", ""),
        ("plain text\n", ""),
        ("===== =====\nA     B\n===== =====\n", ""),
        ("", ""),
    ],
)
def test_an_adorned_line_is_the_title_of_restructured_text(text: str, title: str) -> None:
    assert rst_title(text) == title
