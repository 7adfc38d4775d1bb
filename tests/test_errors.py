"""Errors of the library contain no command lines, only codes, which the commands map to hints."""

import ast
import inspect
import pickle
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

import pytest

from ettin_cli import errors
from ettin_cli.commands.hints import ARGUMENTS, FIELD_OPTIONS, HINTS, hint_of, rejected
from ettin_cli.errors import CODES, EttinError, InvalidArgumentError, UsageError
from ettin_cli.records import Rejection

PACKAGE = Path(__file__).parents[1] / "ettin_cli"
SHELL = ("client", "commands", "console", "cli.py", "__main__.py")
KINDS: dict[str, type[EttinError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, EttinError)
}
# An option, `-r ...` or an `ettin` command, as typed in a shell.
OF_A_SHELL = re.compile(
    r"(^|[\s(\"'`])(--[a-z][a-z-]+|-[a-zA-Z]\b)|(?<!<)\bettin [a-z]+ |\bettin models\b"
)


class Raised(NamedTuple):
    """A call that creates an error: its location, class and arguments."""

    place: str
    kind: type[EttinError]
    call: ast.Call

    @property
    def keywords(self) -> dict[str | None, ast.expr]:
        return {one.arg: one.value for one in self.call.keywords}

    @property
    def codes(self) -> set[str]:
        """All codes it may have: those of the strings in `code=`, else that of its class."""
        given = self.keywords.get("code")
        return texts(given) if given is not None else {self.kind.usual_code}


def texts(node: ast.AST) -> set[str]:
    """Return the string constants in an expression, except those compared in a condition."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def modules(*, shell: bool) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(SHELL) == shell:
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def raised(*, shell: bool) -> list[Raised]:
    return [
        Raised(f"{name}:{node.lineno}", KINDS[node.func.id], node)
        for name, tree in modules(shell=shell)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
    ]


LIBRARY, COMMANDS = raised(shell=False), raised(shell=True)


class Anything(str):
    """A field's value that can be formatted, calculated with and listed."""

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        return "x"

    def __iter__(self) -> Iterator[str]:
        return iter(("x", "y"))

    def __truediv__(self, _other: float) -> "Anything":
        return self


def reading_of(node: ast.Call) -> dict[str, Any]:
    """Return the fields of a call, with a stand-in for each computed value."""
    fields: dict[str, Any] = {}
    for one in node.keywords:
        if one.arg is None:
            # Fields computed by a function: those of a calibration, or of another error.
            fields |= dict.fromkeys(("folder", "reranker", "long", "package"), Anything("x"))
        elif one.arg != "code":
            constant = one.value.value if isinstance(one.value, ast.Constant) else None
            fields[one.arg] = constant if isinstance(constant, str) else Anything("x")
    return fields


def test_every_code_that_is_raised_is_documented_and_every_documented_one_is_raised() -> None:
    used: set[str] = set()
    for one in [*LIBRARY, *COMMANDS]:
        if not isinstance(one.keywords.get("code"), ast.Attribute):
            assert one.codes <= CODES.keys(), one.place
            used |= one.codes
    assert used == set(CODES)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", code) for code in CODES)


def test_every_hint_has_a_code() -> None:
    assert HINTS.keys() <= CODES.keys()


@pytest.mark.parametrize("one", LIBRARY, ids=lambda one: one.place)
def test_the_hint_of_a_raised_error_can_be_made_of_its_fields(one: Raised) -> None:
    for code in one.codes:
        error = one.kind("problem", code=code, **reading_of(one.call))
        hint = hint_of(error)
        assert hint is None or hint.strip(), one.place


def test_every_hint_for_an_argument_is_reached() -> None:
    named = {
        value.value
        for one in LIBRARY
        if isinstance(value := one.keywords.get("argument"), ast.Constant)
    }
    assert ARGUMENTS.keys() <= named
    # A template's placeholders are fields of the error; a misspelt one would go unnoticed.
    for template in ARGUMENTS.values():
        assert all(name is None or name for _, name, _, _ in Formatter().parse(template))


def test_the_library_speaks_no_shell() -> None:
    spoken = [
        (one.place, text) for one in LIBRARY for text in texts(one.call) if OF_A_SHELL.search(text)
    ]
    assert spoken == []


# Places where the library writes a command line on purpose, as in a model card. A server is started
# by one, and tells its clients which option of it sets a limit. An agent runs commands itself.
COMMAND_LINES = (
    "training/run.py",
    "training/card.py",
    "serving/served.py",
    "serving/dialects.py",
    "serving/guard.py",
    "serving/index_routes.py",
    "serving/served_index.py",
    "serving/watching.py",
    "serving/page/search_page.py",
    "serving/mcp/connection.py",
    "serving/mcp/host.py",
    "serving/mcp/protocol.py",
    "serving/mcp/updating.py",
)
# Arguments of other programs.
OTHERS = {
    (name, option)
    for name in ("corpus/separate.py", "daemon/process.py")
    for option in ("-P", "-m")
}


def test_no_text_of_the_library_names_an_option() -> None:
    """Notices and reasons too, wherever they are composed."""
    spoken = []
    for name, tree in modules(shell=False):
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        spoken += [
            (name, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and OF_A_SHELL.search(node.value)
        ]
    assert [one for one in spoken if one not in OTHERS and one[0] not in COMMAND_LINES] == []


def test_the_library_gives_no_hints_and_raises_no_usage_errors() -> None:
    assert [one.place for one in LIBRARY if "hint" in one.keywords] == []
    assert [one.place for one in LIBRARY if one.kind is UsageError] == []


def test_the_library_does_not_read_standard_input() -> None:
    # Separate processes get their requests there, and keep the parent's stdin out.
    own = "corpus/child.py"
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules(shell=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "stdin" and name != own
        if isinstance(node.value, ast.Name) and node.value.id == "sys"
    ]
    assert found == []


EXIT_CODES = {"InvalidArgumentError": 2, "UsageError": 2}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_an_error_keeps_what_it_was_made_of_through_a_pickle(name: str) -> None:
    kind = KINDS[name]
    made = kind("a problem", code="failed", folder=Path("a b"), names=("x", "y"))
    copy = pickle.loads(pickle.dumps(made))
    assert type(copy) is kind
    assert (str(copy), copy.problem) == ("a problem", "a problem")
    assert (copy.code, copy.hint) == ("failed", None)
    assert copy.fields == {"folder": Path("a b"), "names": ("x", "y")}
    assert kind.exit_code == EXIT_CODES.get(name, 1)


def test_a_wrong_argument_is_a_value_error() -> None:
    from ettin_cli.evaluation.metrics import Metric

    with pytest.raises(ValueError, match="unknown metric 'MRR'") as caught:
        Metric("MRR")
    assert isinstance(caught.value, InvalidArgumentError)
    assert (caught.value.code, caught.value.exit_code) == ("invalid-argument", 2)
    assert caught.value.fields["argument"] == "metric"


def test_a_command_in_a_hint_can_be_pasted_into_a_shell() -> None:
    folder = Path("my index's folder")
    error = errors.IndexDamagedError("it is damaged", folder=folder)
    assert shlex.split(hint_of(error) or "") == ["ettin", "verify", "-i", str(folder), "--repair"]


def test_a_command_knows_better_than_the_table() -> None:
    error = errors.IndexNotFoundError("no index here", hint="ettin index SOURCE")
    assert hint_of(error) == "ettin index SOURCE"


def test_a_field_that_rows_lack_can_be_named_by_an_option_of_the_commands() -> None:
    for missing, option in FIELD_OPTIONS.items():
        told = rejected(Rejection("a", f'no "{missing}" field', 1, missing))
        assert told == f'rejected a:1: no "{missing}" field; set it with {option}'
    assert rejected(Rejection("a", "empty text", 1)) == "rejected a:1: empty text"
