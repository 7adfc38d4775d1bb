"""The layout of `--help`: arguments by name, examples with their line breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

# Marks a paragraph whose line breaks are kept.
_AS_WRITTEN = "\b\n"
_NO_BRACES = str.maketrans({"{": "", "}": ""})


class PlainCommand(TyperCommand):
    """A command whose `--help` hides Python types and keeps the line breaks of examples."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=examples_kept(help), **settings)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.metavar = parameter.metavar or parameter.name.upper()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, with required arguments without braces."""
        return [piece.translate(_NO_BRACES) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options."""
        arguments, options = [], []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperArgument):
                arguments.append((str(parameter.metavar), parameter.help or ""))
            elif record := parameter.get_help_record(ctx):
                options.append(record)
        for heading, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class PlainGroup(TyperGroup):
    """A group of commands whose `--help` keeps the line breaks of examples."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=examples_kept(help), **settings)


class Listed(NamedTuple):
    """A command that is imported when it is called.

    Args:
        place: The function or the group, as in `a.module:function`.
        summary: The first line of its help, shown in the list of commands.
    """

    place: str
    summary: str


class LazyCommands(Mapping[str, Any]):
    """Commands by name, each imported when it is looked up."""

    def __init__(self, listed: Mapping[str, Listed]) -> None:
        self.listed = listed

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self.listed[name].place.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name, cls=PlainCommand)(command)
            return get_command(alone)
        group = get_command(command)
        group.name = name
        return group

    def __iter__(self) -> Iterator[str]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)


class LazyGroup(PlainGroup):
    """A group that lists its commands without importing them."""

    listed: ClassVar[Mapping[str, Listed]] = {}

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.commands = LazyCommands(self.listed)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(self.listed)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in self.listed.items()])


def examples_kept(help: str | None) -> str | None:
    r"""Return a help text marked so that paragraphs with indented lines keep their line breaks.

    >>> examples_kept("A command.\n\nExamples:\n  ettin demo")
    'A command.\n\n\x08\nExamples:\n  ettin demo'
    """
    if help is None:
        return None
    paragraphs = help.split("\n\n")
    return "\n\n".join(
        (_AS_WRITTEN if "\n " in paragraph else "") + paragraph for paragraph in paragraphs
    )


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["auto", "table", "json"])
    'auto, table or json'
    """
    return f"{', '.join(words[:-1])} or {words[-1]}"
