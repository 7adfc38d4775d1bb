"""Front matter is read by YAML's and TOML's rules, and notes as the programs show them."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.corpus.front_matter import front_matter
from ettin_cli.corpus.wiki import as_shown, page_properties
from ettin_cli.settings import MAX_FRONT_MATTER
from tests.reading import one, write


@pytest.mark.parametrize(
    ("yaml", "title"),
    [
        ("title: >-\n  A guide to\n  nets", "A guide to nets"),
        ('title: "Nets: a guide" # draft', "Nets: a guide"),
        ("title: 'It''s a net'", "It's a net"),
        ("Title: Capital", "Capital"),
        ("title: Nets: a guide", "Nets: a guide"),
        ("title: No", "No"),
        ("title: 1984", "1984"),
        ("title: 1.10", "1.10"),
        ("title: 12:30", "12:30"),
        ("title: 007", "007"),
        ("title: ~", ""),
        ("title: [a", "[a"),
        ("title: *anchor", "*anchor"),
        ("title: !!python/object:os.system x", "!!python/object:os.system x"),
        ("title: Bold\nlayout: {{ page }}", "Bold"),
    ],
)
def test_titles_are_as_yaml_has_them(yaml: str, title: str) -> None:
    found = front_matter(f"---\n{yaml}\n---\ntext")
    assert (found.title, found.lines) == (title, yaml.count("\n") + 3)


def test_what_describes_a_note_is_searched_in_its_lines_and_is_metadata(tmp_path: Path) -> None:
    text = (
        "---\naliases: [Wobble Index, gait score]\ntags:\n  - balance\n  - knee\n"
        "author: {name: Ida Brandt}\ndate: 2023-11-02\ndraft: true\n---\nCount the steps.\n"
    )
    note = one(write(tmp_path / "note.md", text))
    lines = dict(zip(note.text.split("\n"), note.lines, strict=True))
    assert lines["aliases: Wobble Index, gait score"] == 2
    assert lines["tags: balance, knee"] == 3
    assert lines["author: Ida Brandt"] == 6
    assert lines["Count the steps."] == 10
    assert note.metadata == {
        "aliases": ["Wobble Index", "gait score"],
        "tags": ["balance", "knee"],
        "author": {"name": "Ida Brandt"},
        "date": "2023-11-02",
        "draft": True,
    }


def test_toml_is_read_between_plus_signs(tmp_path: Path) -> None:
    text = '+++\ntitle = "Nets"\ntags = ["a", "b"]\ndate = 2024-01-02\n[extra]\nn = 1\n+++\nText.\n'
    note = one(write(tmp_path / "note.md", text))
    assert (note.title, note.text) == ("Nets", "tags: a, b\n\nText.\n")
    assert note.metadata == {
        "title": "Nets",
        "tags": ["a", "b"],
        "date": "2024-01-02",
        "extra": {"n": 1},
    }
    assert front_matter("+++\nno toml\n+++\n").lines == 0


def test_references_and_depth_cost_nothing() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(99))
    assert front_matter(f"---\n{bomb}---\n").metadata["b98"] == "&b98 [*a, *a]"
    deep = front_matter("---\ntitle: A\ndeep: " + "[" * 20_000 + "\n---\n")
    assert deep.title == "A"
    assert front_matter("+++\na = " + "[" * 20_000 + "\n+++\n").lines == 0
    long = "---\ntitle: A\nnote: " + "x" * MAX_FRONT_MATTER + "\n---\n"
    assert front_matter(long).lines == 0


@given(st.text(st.sampled_from("ab:-#[]{}'\"&*!|>%@`~ \n?,.0159"), max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_front_matter_can_be_read(text: str) -> None:
    found = front_matter(f"---\n{text}\n---\nbody")
    assert 0 <= found.lines <= text.count("\n") + 3


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("See [[Pumps]].", "See Pumps."),
        ("[[Pumps|the pumps]] and [[a/b#c]]", "the pumps and a/b > c"),
        ("![[plan.png|300]]", "plan.png"),
        ("[[Note#^abc]]", "Note"),
        ("`[[ -f x ]]` and [[ y ]]", "`[[ -f x ]]` and y"),
        ("```\n[[ -f x ]]\n```\n[[y]]", "```\n[[ -f x ]]\n```\ny"),
        ("x[[1]] and [[1]](a.md)", "x[[1]] and [[1]](a.md)"),
        ("> [!warning]- Hot [[oil]]\n> Careful.", "> Hot oil\n> Careful."),
        ("> [!tip]\n> Oil it.", "> Tip\n> Oil it."),
        ("- Feed it\n  id:: 64f1\n  tags:: [[yeast]], rye", "- Feed it\n\n  tags: yeast, rye"),
        ("{{embed [[Page]]}} #[[two words]]", "Page #two words"),
        ("#+BEGIN_NOTE\nx\n#+END_NOTE", "Note\nx\n"),
        ("std::vector a::b", "std::vector a::b"),
    ],
)
def test_notes_are_read_as_they_are_shown(written: str, shown: str) -> None:
    assert as_shown(written) == shown


def test_the_properties_of_a_page_are_metadata(tmp_path: Path) -> None:
    text = "title:: Rye bread\nalias:: [[Sour]], dark\nid:: 1\n\n- Feed it. [[Flour]]\n"
    assert page_properties(text) == {"title": "Rye bread", "alias": "Sour, dark"}
    note = one(write(tmp_path / "x.md", text))
    assert (note.title, note.metadata["alias"]) == ("Rye bread", "Sour, dark")
    assert note.text.split("\n")[1] == "alias: Sour, dark"
    assert len(note.lines) == note.text.count("\n") + 1


@given(st.text(st.sampled_from("[]|!`#^a >:-+{}\n"), max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_note_keeps_its_lines(text: str) -> None:
    assert as_shown(text).count("\n") == text.count("\n")
