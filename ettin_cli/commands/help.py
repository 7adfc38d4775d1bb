"""How `--help` looks: arguments by their names alone, examples as they are written."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

# The sign for a paragraph whose lines are not to be joined.
_AS_WRITTEN = "\b\n"
_NO_BRACES = str.maketrans({"{": "", "}": ""})


class PlainCommand(TyperCommand):
    """A command whose `--help` shows no Python types, and its examples as they are written."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=examples_kept(help), **settings)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.metavar = parameter.metavar or parameter.name.upper()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, the required ones without braces."""
        return [piece.translate(_NO_BRACES) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments by name, then the options."""
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
    """A group of commands whose `--help` shows its examples as they are written."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=examples_kept(help), **settings)


def examples_kept(help: str | None) -> str | None:
    r"""Return a help text whose paragraphs with indented lines keep their lines.

    >>> examples_kept("A command.\n\nExamples:\n  ettin demo")
    'A command.\n\n\x08\nExamples:\n  ettin demo'
    """
    if help is None:
        return None
    paragraphs = help.split("\n\n")
    return "\n\n".join((_AS_WRITTEN if "\n " in one else "") + one for one in paragraphs)
