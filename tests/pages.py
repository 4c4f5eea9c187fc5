"""The Markdown pages of the repository: their blocks of code, their headings and their links, as GitHub reads them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").glob("*.md"), *(TOP / "charts").glob("*/README.md")])

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=fence)\n", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
_ENDS = ("&&", "||", "|", ";", "&", "(", ")")


class Block(NamedTuple):
    """A block of code.

    Attributes:
        page: where it stands.
        line: the number of its first line.
        language: what stands behind the fence; empty for nothing.
        text: the code.
        before: the last line before it.
        lead: the last paragraph before it.
    """

    page: Path
    line: int
    language: str
    text: str
    before: str
    lead: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)}:{self.line}"


class Command(NamedTuple):
    """A simple command of a shell: what it is given in the environment, and its words."""

    environ: dict[str, str]
    words: list[str]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page that are of one of the languages; without languages all."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if not languages or match["language"] in languages:
            lead = text[: match.start()].rstrip().rpartition("\n\n")[2]
            before = lead.rpartition("\n")[2]
            line = text.count("\n", 0, match.start("text")) + 1
            found.append(Block(page, line, match["language"], match["text"], before, lead))
    return found


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose, as it is shown."""
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", prose(page))]


def links(page: Path) -> list[tuple[str, str]]:
    """The links of the prose: the path or address, empty for the page itself, and the anchor."""
    return [(match[1], match[2] or "") for match in _LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(page)))]


def anchors(page: Path) -> set[str]:
    """What a link to the page can have behind #: GitHub's names of the headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def _tokens(text: str) -> Iterator[str]:
    """The words of a shell's text, and between its lines a semicolon."""
    for line in _HEREDOC.sub(r"\3", text).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        yield from lexer
        yield ";"


def commands(text: str) -> list[Command]:
    """The simple commands of a shell's text; what is exported is given to all that come after it."""
    exported: dict[str, str] = {}
    found = []
    words: list[str] = []
    for token in _tokens(text):
        if token not in _ENDS:
            words.append(token)
            continue
        environ = {}
        while words and _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            environ[name] = value
        if words and words[0] == "export":
            exported |= dict(word.split("=", 1) for word in words[1:] if "=" in word)
        if words:
            found.append(Command(exported | environ, words))
        words = []
    return found
