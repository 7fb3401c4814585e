"""Print the lines of code without docstrings, comments and blanks, by part of the project; --tests: names of all tests.

A docstring is a string that is a statement of its own, in the rules of Snakemake too.
"""

import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
PARTS = {
    "src without its report": [path for path in ROOT.glob("src/**/*.py") if "report" not in path.parts],
    "src/spandex/report": list(ROOT.glob("src/spandex/report/*.py")),
    "workflow/rules": list(ROOT.glob("workflow/rules/*.smk")),
    "tests": list(ROOT.glob("tests/**/*.py")),
}


def code_lines(path: Path) -> int:
    lines: set[int] = set()
    starts = True  # of a statement
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type in SILENT or token.type == tokenize.ENDMARKER:
            starts = starts if token.type in (tokenize.COMMENT, tokenize.NL) else True
            continue
        if not (starts and token.type == tokenize.STRING and after.type in (tokenize.NEWLINE, tokenize.ENDMARKER)):
            lines.update(range(token.start[0], token.end[0] + 1))
        starts = False
    return len(lines)


def main() -> None:
    if sys.argv[1:] == ["--tests"]:
        command = [ROOT / ".venv/bin/python", "-m", "pytest", "--collect-only", "--quiet"]
        sys.exit(subprocess.run(command, cwd=ROOT).returncode)
    for part, files in PARTS.items():
        print(f"{part:24} {sum(map(code_lines, files)):6} lines in {len(files)} files")


main()
