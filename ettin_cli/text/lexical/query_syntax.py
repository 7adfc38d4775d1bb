"""Query syntax: "a phrase", -word, field:value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_DEMAND = re.compile(
    r"""
    (?<!\S)
    (?P<minus>-)?
    (?: (?P<field>[^\W\d][\w-]*) : (?! [/:\\] ) (?P<value> "[^"]+" | [^\s"]+ )
      | "(?P<phrase>[^"]+)"
      | (?P<word>(?<=-)[^\W\d_]\S*)
    )
    (?!\S)
    """,
    re.VERBOSE,
)
# Options that are no words: -O2, -std=c++17.
_OPTION = re.compile(r"[^\W\d_]\d*|\S*=\S*")
# After one of these names, -word is an option. Commands whose names are English words, such as
# find, cat and make, or name other things, such as java and python, are not among them.
COMMANDS = frozenset(
    """apt apt-get awk aws az bash chmod chown conda cp curl dd df docker docker-compose du emacs
    ffmpeg ffprobe g++ gcc gcloud gh git gpg grep gunzip gzip helm ifconfig iptables javac
    journalctl jq kubectl latexmk ls lsof mkdir mv mvn mysqldump netstat nmap npm npx nvim openssl
    pacman pandoc pdflatex perl php pip pip3 podman ps psql pytest redis-cli rg rm rsync rustc scp
    sed ssh ssh-keygen strace sudo svn systemctl tar tmux uniq unzip vim wc wget xargs yt-dlp
    zsh""".split()
)
_QUOTES = str.maketrans("“”„‟", '""""')


@dataclass(frozen=True, slots=True)
class Demands:
    """A query's text, and constraints that every hit must meet.

    Args:
        text: The text to embed, look up and rerank; includes the words of phrases.
        phrases: Phrases that must occur.
        excluded: Words or phrases that must not occur.
        fields: Metadata fields, or `title`, with a phrase that must occur in each.
        other_fields: Likewise, with a phrase that must not occur.
        unknown: Names of fields that no document has, and what is searched as text for it.
        options: -words that are searched as text, since they may be options of a command.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    other_fields: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phrases or self.excluded or self.fields or self.other_fields)


def parse_query(
    query: str,
    is_field: Callable[[str], bool] = lambda name: True,
    is_option: Callable[[str], bool] = lambda word: False,
) -> Demands:
    """Return the text and the constraints of a query.

    A -word is text where it may be an option: if it is a single letter, has an equals sign,
    follows the name of a command, or is written as an option in a document. In quotes it never is.

    Args:
        is_field: Whether any document has a field of this name; `name:value` is text if not.
        is_option: Whether a document has this word as an option.

    >>> parse_query('harbour "fire pump" -car lang:en').fields
    (('lang', 'en'),)
    >>> parse_query("git commit -m message").text
    'git commit -m message'
    """
    phrases: list[str] = []
    excluded: list[str] = []
    fields: list[tuple[str, str]] = []
    other_fields: list[tuple[str, str]] = []
    unknown: list[tuple[str, str]] = []
    options: list[str] = []

    def take(match: re.Match[str]) -> str:
        name, text = match["field"], match["phrase"] or match["word"] or ""
        if name and is_field(name):
            named = other_fields if match["minus"] else fields
            named.append((name, match["value"].strip('"')))
            return ""
        if name:
            text = match[0].removeprefix("-")
            unknown.append((name, match[0]))
        if not match["minus"]:
            phrases.extend([text] if match["phrase"] else [])
            return text
        if not match["phrase"] and (_after_command(match) or is_option(text)):
            options.append(match[0])
            return match[0]
        excluded.append(text)
        return ""

    text = " ".join(_DEMAND.sub(take, query.translate(_QUOTES)).split())
    return Demands(
        text,
        tuple(phrases),
        tuple(excluded),
        tuple(fields),
        tuple(other_fields),
        tuple(unknown),
        tuple(options),
    )


def _after_command(match: re.Match[str]) -> bool:
    """Return whether a -word has the form of an option, or the name of a command before it."""
    word = match[0].removeprefix("-")
    before = match.string[: match.start()].lower().split()
    return bool(_OPTION.fullmatch(word)) or not COMMANDS.isdisjoint(before)
