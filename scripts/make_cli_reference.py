"""Print docs/reference/cli.md, made of the recorded `--help` of every command.

python scripts/make_cli_reference.py > docs/reference/cli.md
"""

import re
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "help"
HEAD = """# Command line

<!-- Made by scripts/make_cli_reference.py from tests/golden/help; don't edit it. -->
"""


def main() -> None:
    """Print a section per command, in the order of `ettin --help`."""
    sections = [section(words) for words in commands(["ettin"])]
    sys.stdout.write("\n".join([HEAD, *sections]))


def commands(words: list[str]) -> list[list[str]]:
    """Return a command and those below it, in the order of its help."""
    below = re.findall(r"^  ([a-z]+)  ", help_of(words).partition("\nCommands:\n")[2], re.MULTILINE)
    return [words, *(found for name in below for found in commands([*words, name]))]


def help_of(words: list[str]) -> str:
    """Return the recorded help of a command."""
    return (GOLDEN / ("-".join(words) + ".txt")).read_text(encoding="utf-8")


def section(words: list[str]) -> str:
    """Return a command's heading and its help."""
    return f"## {' '.join(words)}\n\n```text\n{help_of(words)}```\n"


if __name__ == "__main__":
    main()
