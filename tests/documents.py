"""What README and docs show in blocks of code, page by page."""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        where: file and line of its first line of content.
        language: ``sh`` and ``python`` are run, ``text`` is what the commands before it print.
        title: the file that the reader puts it into, if any.
        reason: why the commands cannot be run here, if so.
    """

    where: str
    language: str
    title: str | None
    text: str
    reason: str | None


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    return [
        Block(
            f"{name(page)}:{content.count(chr(10), 0, match.start('text')) + 1}",
            match["language"],
            match["title"],
            match["text"],
            match["reason"],
        )
        for match in FENCE.finditer(content)
    ]


def is_run(block: Block) -> bool:
    """Whether a test runs it."""
    return block.language in ("sh", "python") and block.title is None and block.reason is None
