"""What to put into the settings of an agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ettin_cli.platforms import command_line


@dataclass(frozen=True, slots=True)
class Snippet:
    """Settings of an agent.

    Args:
        where: Where the text goes.
        text: Makes the text of the command and its arguments.
    """

    where: str
    text: Callable[[Sequence[str]], str]


def _claude_code(words: Sequence[str]) -> str:
    return f"claude mcp add ettin -- {command_line(words)}"


def _codex(words: Sequence[str]) -> str:
    # A string of JSON is one of TOML.
    arguments = json.dumps(list(words[1:]))
    return f"[mcp_servers.ettin]\ncommand = {json.dumps(words[0])}\nargs = {arguments}"


def _cursor(words: Sequence[str]) -> str:
    server = {"command": words[0], "args": list(words[1:])}
    return json.dumps({"mcpServers": {"ettin": server}}, indent=2)


def _vscode(words: Sequence[str]) -> str:
    server = {"type": "stdio", "command": words[0], "args": list(words[1:])}
    return json.dumps({"servers": {"ettin": server}}, indent=2)


SNIPPETS = {
    "claude-code": Snippet("run in the folder of the project", _claude_code),
    "codex": Snippet("add to ~/.codex/config.toml", _codex),
    "cursor": Snippet("merge into .cursor/mcp.json, or ~/.cursor/mcp.json", _cursor),
    "vscode": Snippet("merge into .vscode/mcp.json", _vscode),
}
