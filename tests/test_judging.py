"""Judging in the terminal: single keys, escaped texts, and a file that is always intact."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len
from rich.console import Console as RichConsole

from ettin_cli.commands.hints import hint_of
from ettin_cli.console.console import Console
from ettin_cli.console.judging import JudgingCounts, JudgingSession, judge
from ettin_cli.console.judging_screen import Sheet, ToJudge
from ettin_cli.console.keyboard import keyboard
from ettin_cli.errors import CorpusError, EttinError, OutputError
from ettin_cli.evaluation.judgements import Judgements
from ettin_cli.files.trec import without_spaces

pty, resource, termios = (pytest.importorskip(name) for name in ("pty", "resource", "termios"))

QUERIES = {"q1": "when does the ferry sail", "q2": "how long is dough kneaded"}
ITEMS = [
    ToJudge(query_id, text, f"d{number}", f"Title {number}", f"d{number}.md:1", f"text {number}")
    for query_id, text in QUERIES.items()
    for number in (1, 2, 3)
]
CLEAR = "\x1b[2J"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
DEADLINE_S = 60


def item(text: str, query: str = "ferry", title: str = "", place: str = "a.md:1") -> ToJudge:
    return ToJudge("q", query, "d", title, place, text)


def terminal(width: int = 80, height: int = 24) -> RichConsole:
    return RichConsole(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        highlight=False,
    )


class Played:
    """A session with keys from a string, whose screens are recorded."""

    def __init__(
        self, qrels: Path, keys: str = "", items: list[ToJudge] = ITEMS, **size: int
    ) -> None:
        self.console = terminal(**size)
        self.session = JudgingSession(items, Judgements(qrels), self.console)
        self.screens: list[str] = []
        self.press(keys)

    def press(self, keys: str) -> None:
        waiting: Iterator[str] = iter([*keys, "q"])

        def ask(show: Callable[[], None]) -> str:
            self.show(show)
            return next(waiting)

        self.session.run(ask)

    def show(self, show: Callable[[], None]) -> None:
        show()
        assert isinstance(self.console.file, io.StringIO)
        self.screens.append(self.console.file.getvalue().rsplit(CLEAR)[-1])

    @property
    def screen(self) -> str:
        return self.screens[-1]


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    return tmp_path / "my.qrels"


# The file


IDS = st.text(max_size=6)


@settings(deadline=None)
@given(st.dictionaries(st.tuples(IDS, IDS), st.integers(0, 3), max_size=5))
def test_any_id_makes_a_line_that_other_tools_read(given: dict[tuple[str, str], int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "qrels"
        judgements = Judgements(path)
        for (query_id, doc_id), relevance in given.items():
            judgements.add(query_id, doc_id, relevance)
        again = Judgements(path)
        assert all(pair in again for pair in given)
        assert ("another query", "another document") not in again
        expected: dict[str, dict[str, int]] = {}
        for (query_id, doc_id), relevance in given.items():
            expected.setdefault(without_spaces(query_id), {})[without_spaces(doc_id)] = relevance
        lines = path.read_text(encoding="utf-8").splitlines() if given else []
        assert pytrec_eval.parse_qrel(lines) == expected


@pytest.mark.parametrize(
    "before",
    [b"q1 0 d1 2\r\nq1 0 d2 0\r\n", b"q1 0 d1 2\r\nq1 0 d2 0", b"q1\t0\td1\t2\n\nq1 Q0 d2 -1"],
    ids=["crlf", "no end of line", "tabs"],
)
def test_a_file_written_by_hand_is_gone_on_with(qrels: Path, before: bytes) -> None:
    qrels.write_bytes(before)
    assert "document 3 of 3" in Played(qrels).screen
    Played(qrels, "3")
    assert qrels.read_bytes().startswith(before)
    with qrels.open(encoding="utf-8") as file:
        read = pytrec_eval.parse_qrel(line for line in file if line.strip())
    assert read == {"q1": {"d1": 2, "d2": read["q1"]["d2"], "d3": 3}}


def test_a_byte_order_mark_is_no_part_of_an_id(qrels: Path) -> None:
    qrels.write_bytes(b"\xef\xbb\xbfq1 0 d1 2\n")
    assert ("q1", "d1") in Judgements(qrels)


@pytest.mark.parametrize("line", ["q1 0 d1", "q1 0 d1 2 x", "q1 0 d1 high", "query-id\tid\tscore"])
def test_a_line_that_judges_nothing_is_named(qrels: Path, line: str) -> None:
    qrels.write_text(f"q1 0 d1 2\n\n{line}\n")
    with pytest.raises(CorpusError, match=r"my\.qrels:3: not a judgement: 'q") as caught:
        Judgements(qrels)
    assert hint_of(caught.value) == "a TREC qrels line is: query_id 0 doc_id relevance"


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no such folder: .*nowhere"):
        Judgements(tmp_path / "nowhere" / "qrels")
    with pytest.raises(CorpusError, match="cannot read the judgements in"):
        Judgements(tmp_path)


def test_a_full_disk_leaves_the_file_as_it_was(qrels: Path) -> None:
    judgements = Judgements(qrels)
    judgements.add("q1", "d1", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write .*: File too large"):
            judgements.add("q1", "d2", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert qrels.read_text() == "q1 0 d1 1\n"
    assert ("q1", "d2") not in judgements


# The keys


def test_a_judgement_is_on_disk_before_the_next_document_is_shown(qrels: Path) -> None:
    played = Played(qrels)
    seen = []

    def ask(show: Callable[[], None]) -> str:
        played.show(show)
        seen.append(qrels.read_text() if qrels.exists() else "")
        return "q" if len(seen) == 3 else "2"

    played.session.run(ask)
    assert seen == ["", "q1 0 d1 2\n", "q1 0 d1 2\nq1 0 d2 2\n"]


def test_a_screen_shows_progress_query_title_place_text_and_keys(qrels: Path) -> None:
    rows = Played(qrels, "0123").screen.splitlines()
    assert rows[0].split("  ") == ["query 2 of 2", "document 2 of 3", "4 of 6 judged"]
    assert rows[1] == "how long is dough kneaded"
    assert re.fullmatch(r"Title 2 +d2\.md:1", rows[3])
    assert rows[4] == "text 2"
    assert rows[-3].startswith("3 highly relevant: Title 1")
    assert rows[-2] == "0 not relevant  1 marginally  2 relevant  3 highly relevant"
    assert len(rows) == 23


def test_undo_takes_judgements_back_across_queries(qrels: Path) -> None:
    qrels.write_bytes(b"q1 0 d1 1\r\nq9 0 d1 1")
    played = Played(qrels, "203")
    assert "query 2 of 2  document 2 of 3" in played.screen
    played.press("uu")
    assert "query 1 of 2  document 3 of 3" in played.screen
    assert "undone: 0 not relevant" in played.screen
    assert qrels.read_bytes() == b"q1 0 d1 1\r\nq9 0 d1 1\nq1 0 d2 2\n"
    played.press("uu")
    assert "nothing to undo in this session" in played.screen
    assert qrels.read_bytes() == b"q1 0 d1 1\r\nq9 0 d1 1\n"


def test_taking_back_removes_the_newest_of_two_equal_lines(qrels: Path) -> None:
    judgements = Judgements(qrels)
    for doc_id in ("d1", "d2", "d1"):
        judgements.add("q1", doc_id, 1)
    assert judgements.take_back("q1", "d1", 1)
    assert qrels.read_text() == "q1 0 d1 1\nq1 0 d2 1\n"
    assert ("q1", "d1") not in judgements
    assert not judgements.take_back("q1", "d2", 3)


def test_undo_leaves_alone_what_somebody_else_wrote(qrels: Path) -> None:
    played = Played(qrels, "2")
    qrels.write_text("q1 0 d1 3\n")
    played.press("u")
    assert "undone, but not in the file" in played.screen
    assert qrels.read_text() == "q1 0 d1 3\n"


def test_a_skipped_document_comes_again_at_the_end_of_its_query(qrels: Path) -> None:
    Played(qrels, "s123")
    assert qrels.read_text() == "q1 0 d2 1\nq1 0 d3 2\nq1 0 d1 3\n"
    assert "the last document of this query" in Played(qrels, "11s").screen


def test_the_next_query_comes_and_this_one_again_after_it(qrels: Path) -> None:
    played = Played(qrels, "1n222n")
    assert "query 1 of 2  document 2 of 3" in played.screen
    assert "the last query" in played.screen
    played.press("uuuuu")
    assert qrels.read_text() == ""
    assert "query 1 of 2  document 1 of 3" in played.screen


def test_the_last_judgement_can_be_undone(qrels: Path) -> None:
    played = Played(qrels, "0" * 6)
    assert played.screen.startswith("6 of 6 judged")
    played.press("0")
    assert "unknown key" in played.screen
    played.press("u")
    assert "query 2 of 2  document 3 of 3  5 of 6 judged" in played.screen
    assert played.session.counts() == JudgingCounts(5, 1)


def test_help_explains_every_key_and_judges_nothing(qrels: Path) -> None:
    played = Played(qrels, "?", width=40)
    explained = re.findall(r"^(.) ", played.screen, re.MULTILINE)
    assert set(explained) >= set("0123snutq")
    played.press("2")
    assert "document 1 of 3" in played.screen
    assert not qrels.exists()


KEYS = st.text(st.sampled_from("0123snut?x\x1b"), max_size=25)


@settings(deadline=None)
@given(KEYS, KEYS)
def test_whatever_is_pressed_the_file_tells_what_was_judged(first: str, second: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, judged = Path(folder) / "qrels", 0
        for keys in (first, second):
            session = JudgingSession(ITEMS, Judgements(path), terminal())
            for key in keys:
                session.press(key)
            counts = session.counts()
            lines = path.read_text().splitlines() if path.exists() else []
            judged += counts.judged
            assert len({tuple(line.split()[:3]) for line in lines}) == len(lines) == judged
            assert judged + counts.left == len(ITEMS)
            before = lines[: len(lines) - counts.judged]
        session.helping = False
        for _ in second:
            session.press("u")
        after = path.read_text().splitlines() if path.exists() else []
        assert after == before


def test_what_is_judged_is_not_asked_again_whoever_judged_it(qrels: Path) -> None:
    qrels.write_text("q1 Q0 d2 0\nq2 0 d1 3\nq7 0 d1 1\n")
    played = Played(qrels, "1111")
    assert [line.split()[:3:2] for line in qrels.read_text().splitlines()[3:]] == [
        ["q1", "d1"],
        ["q1", "d3"],
        ["q2", "d2"],
        ["q2", "d3"],
    ]
    assert played.session.counts() == JudgingCounts(4, 0)


# The screen


SIZES = st.tuples(st.integers(8, 90), st.integers(4, 30))
LINES = st.text() | st.lists(st.sampled_from(["\n", "a", "\x1b", "\u202e"])).map("".join)
WORDS = st.lists(
    st.sampled_from(["ferry", "sails.", "日本語の文章", "\n", "\n\n", "    x", "word"])
)


@settings(deadline=None)
@given(LINES, LINES, LINES, WORDS.map(" ".join) | st.text(), SIZES, st.integers(0, 3))
def test_every_screen_fits_and_is_inert(
    query: str, title: str, place: str, text: str, size: tuple[int, int], page: int
) -> None:
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        documents = [item(text, query, title, place)]
        keys = "t" * page + "0?x"
        played = Played(Path(folder) / "q", keys, documents, width=width, height=height)
    for screen in played.screens:
        lines = screen.split("\n")[:-1]
        assert len(lines) < height
        assert all(cell_len(line) <= width for line in lines)
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "".join(lines))


@settings(deadline=None)
@given(WORDS.map(" ".join), SIZES)
def test_paging_goes_through_all_of_a_text_and_back(text: str, size: tuple[int, int]) -> None:
    sheet = Sheet(terminal(*size), item(text), [])
    pages = [sheet.page(0)]
    while (page := sheet.page(len(pages))) != pages[0]:
        pages.append(page)
    lines = [line.plain for lines, _ in (pages[1:] or pages) for line in lines]
    assert "".join("".join(lines).split()) == "".join(text.split())


LONG = "\n".join([*(f"line {number}" for number in range(60)), "the ferry sails", "at nine"])


def test_a_long_text_opens_at_its_best_lines_and_says_that_there_is_more(qrels: Path) -> None:
    played = Played(qrels, "", [item(LONG.replace("line 7", "ferry lines"))])
    rows = played.screen.splitlines()
    assert [row.rstrip() for row in rows[3:5]] == ["a.md:1", "… ferry lines"]
    assert rows[19].endswith(" …")
    assert rows[20].endswith("best lines")
    played = Played(qrels, "", [item(LONG)])
    rows = played.screen.splitlines()
    assert rows[4] == "…"
    assert rows[18:20] == ["the ferry sails", "at nine"]


def test_a_query_that_is_cut_is_in_the_pages_of_the_text(qrels: Path) -> None:
    query = " ".join(f"word{number}" for number in range(99))
    played = Played(qrels, "", [item("short", query)], width=40)
    assert " …" in played.screen
    assert "word98" not in played.screen
    played.press("tttt")
    assert any("word98" in screen for screen in played.screens)


def test_the_words_of_the_query_are_marked(qrels: Path) -> None:
    played = Played(qrels)
    played.console = RichConsole(file=io.StringIO(), force_terminal=True, color_system="standard")
    played.session = JudgingSession([item("the ferries sail")], Judgements(qrels), played.console)
    played.press("")
    assert "the \x1b[1;33mferries\x1b[0m sail" in played.screen


def test_the_smallest_terminal_still_shows_text_and_keys(qrels: Path) -> None:
    rows = Played(qrels, width=20, height=5).screen.splitlines()
    assert [row.rstrip() for row in rows[1:]] == [
        "text 1",
        "press 0…  best lines",
        "0-3 judge  ? help",
    ]


def test_prose_flows_in_a_narrow_terminal_and_code_keeps_its_lines(qrels: Path) -> None:
    prose = "The ferry sails at nine o'clock from the western pier,\nand at noon, and no later."
    code = "def ferry(hour: int, minute: int) -> bool:\n    return hour == 9"
    text = f"{prose}\n\n{code}"
    rows = [row.rstrip() for row in Played(qrels, "", [item(text)], width=40).screen.split("\n")]
    assert "western pier, and at noon, and no later." in rows
    assert "    return hour == 9" in rows


# A real terminal

DRIVER = """
import sys
from pathlib import Path
from ettin_cli.console import Console
from ettin_cli.console.judging import judge
from tests.test_judging import EVIL, ITEMS, item
items = [item(EVIL, EVIL, EVIL, EVIL)] if "evil" in sys.argv else ITEMS
counts = judge(items, Path(sys.argv[1]), console=Console(), resume_command="ettin eval --judge")
print(f"returned {counts}")
"""
EVIL = "\x1b[31mred\x1b]8;;http://x\x07link \u202eturned \x9b1m [bold]x[/bold]\r\x08\ud800\n" * 30
END = "\x1b[?1049l"


class Terminal:
    """A process with its own terminal, which takes keys and shows screens."""

    def __init__(self, *words: object, width: int = 80, **env: str) -> None:
        self.keyboard, process_end = pty.openpty()
        termios.tcsetwinsize(process_end, (24, width))
        self.settings = termios.tcgetattr(self.keyboard)
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *map(str, words)],
            stdin=process_end,
            stdout=process_end,
            stderr=process_end,
            env={**os.environ, "TERM": "xterm-256color", **env},
            start_new_session=True,
        )
        os.close(process_end)

    def until(self, wanted: str) -> str:
        """Read until the newest screen contains a text, and return that screen."""
        while wanted not in (screen := STYLE.sub("", self.shown.rsplit(CLEAR)[-1])):
            ready, _, _ = select.select([self.keyboard], [], [], DEADLINE_S)
            assert ready, f"no {wanted!r} in {screen!r}"
            try:
                more = os.read(self.keyboard, 1 << 16)
            except OSError:  # the process has ended
                more = b""
            assert more, f"ended without {wanted!r}: {screen!r}"
            self.shown += more.decode("utf-8", "replace")
        return screen

    def press(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def end(self) -> str:
        """Wait for the end, and return the output after the last screen."""
        said = self.until("returned ").rsplit(END)[-1]
        assert self.process.wait(DEADLINE_S) == 0
        assert termios.tcgetattr(self.keyboard) == self.settings
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)


Opens = Callable[..., Terminal]


@pytest.fixture
def at_terminal() -> Iterator[Opens]:
    opened: list[Terminal] = []

    def opens(*words: object, width: int = 80, **env: str) -> Terminal:
        opened.append(Terminal(*words, width=width, **env))
        return opened[-1]

    yield opens
    for one in opened:
        one.kill()
        os.close(one.keyboard)


def test_a_session_judges_undoes_skips_quits_and_is_gone_on_with(
    qrels: Path, at_terminal: Opens
) -> None:
    session = at_terminal(qrels)
    for key, shown in [
        ("2", "document 1 of 3"),
        ("3", "document 2 of 3"),
        ("u", "document 3 of 3"),
        ("s", "undone: 3 highly relevant"),
        ("0", "document 3 of 3"),
        ("q", "query 1 of 2  document 2 of 3  2 of 6 judged"),
    ]:
        session.until(shown)
        session.press(key)
    assert (
        f"ettin: 2 judged into {qrels}, 4 left; to continue: ettin eval --judge\r\n"
        in session.end()
    )
    assert qrels.read_text() == "q1 0 d1 2\nq1 0 d3 0\n"

    session = at_terminal(qrels)
    for number, shown in enumerate(["document 2", "document 1", "document 2", "document 3"]):
        session.until(shown)
        session.press(str(number))
    session.until("6 of 6 judged")
    session.press("q")
    assert f"ettin: 4 judged into {qrels}, none left\r\n" in session.end()
    assert qrels.read_text().endswith("q1 0 d2 0\nq2 0 d1 1\nq2 0 d2 2\nq2 0 d3 3\n")
    assert f"ettin: 0 judged into {qrels}, none left" in at_terminal(qrels).end()


def test_a_session_that_is_killed_loses_nothing(qrels: Path, at_terminal: Opens) -> None:
    for judged in (0, 2):
        session = at_terminal(qrels)
        for more in (judged, judged + 1):
            session.until(f"{more} of 6 judged")
            session.press("1")
        session.until(f"{judged + 2} of 6 judged")
        session.kill()
    assert qrels.read_text() == "q1 0 d1 1\nq1 0 d2 1\nq1 0 d3 1\nq2 0 d1 1\n"


@pytest.mark.parametrize("key", ["\x03", "\x04", "Q"], ids=["ctrl-c", "ctrl-d", "Q"])
def test_quitting_leaves_the_terminal_as_it_was(qrels: Path, at_terminal: Opens, key: str) -> None:
    session = at_terminal(qrels, width=40)
    session.until("help  q quit")
    session.press("1")
    session.until("1 of 6 judged")
    session.press(key)
    assert f"1 judged into {qrels}, 5 left" in session.end()
    assert qrels.read_text() == "q1 0 d1 1\n"


def test_a_terminal_of_another_size_is_drawn_anew(qrels: Path, at_terminal: Opens) -> None:
    session = at_terminal(qrels)
    session.until("document 1 of 3  0 of 6 judged")
    termios.tcsetwinsize(session.keyboard, (24, 40))
    session.process.send_signal(signal.SIGWINCH)
    session.until("document 1 of 3\r\n0 of 6 judged")
    session.press("1")
    session.until("1 of 6 judged")
    session.press("q")
    assert f"1 judged into {qrels}, 5 left" in session.end()


def test_an_interrupt_from_elsewhere_is_like_quit(qrels: Path, at_terminal: Opens) -> None:
    session = at_terminal(qrels)
    session.until("q quit")
    session.process.send_signal(signal.SIGINT)
    assert f"0 judged into {qrels}, 6 left" in session.end()


def test_a_key_that_is_pressed_before_its_screen_is_there_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fingers, process_end = pty.openpty()
    with os.fdopen(fingers), os.fdopen(process_end) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        def show() -> None:
            os.write(fingers, b"2")

        with keyboard() as ask:
            os.write(fingers, b"1")
            assert select.select([stdin], [], [], DEADLINE_S)[0]
            assert ask(show) == "2"


def test_keys_pressed_too_early_judge_nothing(qrels: Path, at_terminal: Opens) -> None:
    session = at_terminal(qrels)
    session.press("2\n")
    session.until("q quit")
    session.press("333\x1b[A3")
    session.until("1 of 6 judged")
    session.press("\x1b[B")
    session.until("unknown key")
    session.press("q")
    assert f"1 judged into {qrels}, 5 left" in session.end()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_text_from_outside_obeys_nothing_in_a_terminal(
    qrels: Path, at_terminal: Opens, encoding: str
) -> None:
    session = at_terminal(qrels, "evil", PYTHONIOENCODING=encoding, NO_COLOR="1")
    session.until("q quit")
    session.press("t")
    session.until("text 1 of")
    session.press("2")
    session.until("1 of 1 judged")
    session.press("q")
    session.end()
    ours = r"\x1b\[(\?1049[hl]|\?25[hl]|H|2J|[0-2]?m)"
    left = re.sub(ours, "", session.shown)
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]|\r(?!\n)", left)
    assert "[bold]x[/bold]" in left


def test_without_a_terminal_it_is_said_what_to_do(
    qrels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard, process_end = pty.openpty()
    with os.fdopen(keyboard), os.fdopen(process_end) as stdin:
        for stream, name in ((io.StringIO(), "input"), (stdin, "output")):
            monkeypatch.setattr("sys.stdin", stream)
            with pytest.raises(EttinError, match=f"standard {name} is not one") as caught:
                judge(ITEMS, qrels, console=Console(), resume_command="")
            assert hint_of(caught.value)
    assert not qrels.exists()
