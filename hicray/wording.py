"""How locations, errors, commands and names are written for people, without any secret.

Addresses may hold secrets: a user's password, a bucket's key, the signature of a query. Whatever
is printed, raised, logged or traced passes through here.
"""

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:/+"
_LOCAL = re.compile(r"(sqlite(\+[a-z]+)?|file):///")
"""What lies on a disk has no user, and may have an '@' in its name."""
_ADDRESS = re.compile(_SCHEME + r"\S*")
_PUNCTUATION = "'\"),.;:]}>`"


def shown(where: object) -> str:
    """Return a location as it may be shown: without a user, a password or a query.

    Args:
        where: A path or an address; a path is shown as it is.
    """
    text = str(where)
    scheme = re.search(_SCHEME, text)
    if scheme is None:
        return text
    before, rest = text[: scheme.end()], text[scheme.end() :]
    if "@" in rest and not _LOCAL.match(text, scheme.start()):
        rest = "...@" + rest.rpartition("@")[2]
    path, question, _ = rest.partition("?")
    return before + path + ("?..." if question else "")


def scrubbed(text: str) -> str:
    """Return a text with every address in it as it may be shown."""
    return _ADDRESS.sub(_shown_within, text)


def _shown_within(found: re.Match[str]) -> str:
    word = found.group()
    bare = word.rstrip(_PUNCTUATION)
    return shown(bare) + word[len(bare) :]


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, or its name if it says nothing."""
    return scrubbed(next(iter(str(error).strip().splitlines()), type(error).__name__))


def command(program: str, *words: object) -> str:
    """Return a line for any shell in any folder that runs a program of this environment.

    Args:
        program: Its name, such as ``mlflow``.
        *words: Its arguments; paths have to be absolute.
    """
    beside = Path(sys.executable).with_name(program)
    return shlex.join([str(beside) if beside.exists() else program, *map(str, words)])


def in_markdown(text: str) -> str:
    """Return a name so that Markdown shows it, in a table's cell too."""
    return re.sub(r"([\\|`*<\[])", r"\\\1", " ".join(text.split()))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; cells are taken as they are."""
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
