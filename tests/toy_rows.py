"""Build a toy with the Python that runs this, and print its rows of the table and the digests of its networks.

What is printed must be the same to the byte on every Python that is supported; ``make test-pythons`` compares it.
"""

import csv
import sys
import tempfile
from pathlib import Path

from spandex.files import sha256
from toy_project import make, new_project


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = new_project(Path(folder, "project"))
        built = make(project)
        if built.returncode:
            sys.exit(built.stdout + built.stderr)
        with (project / "reports/synthetic/table.csv").open(encoding="utf-8", newline="") as file:
            headings, *rows = csv.reader(file)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([headings, *(row for row in rows if row[0] == "this run")])
        for network in sorted(project.glob("models/synthetic/**/network.net")):
            print(f"{network.relative_to(project)} {sha256(network)}")


if __name__ == "__main__":
    main()
