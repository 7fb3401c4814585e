import re
import shutil
import subprocess
import unicodedata

import pytest

from report_build import TEAM, small_build, write_report
from spandex.report.tex import escape

ODD = "\\ { } $ & # % _ ~ ^ < > | \" ' é Łódź ß ø ï 日本 \N{MINUS SIGN}1 a\nb \x07"


def test_every_special_character_is_escaped():
    assert escape("50% of $x_1$ & {y}") == r"50\% of \$x\_1\$ \& \{y\}"
    assert escape("a\\b^c~d#e") == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d\#e"
    assert escape("-1 \N{MINUS SIGN}1") == "-1 $-$1"


def test_accents_of_either_form_are_set_and_unknown_letters_marked():
    assert escape("é") == escape(unicodedata.normalize("NFD", "é")) == r"\'{e}"
    assert escape("ï") == r"\"{\i{}}"
    assert escape("日本") == "??"
    assert escape("a\nb\x07") == "a b"


def pdflatex(folder, name) -> str:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on the path; Debian has it in texlive-latex-recommended")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_escaped_text_compiles(tmp_path):
    text = f"\\documentclass{{article}}\\begin{{document}}{escape(ODD)}\\end{{document}}"
    (tmp_path / "odd.tex").write_text(text)
    assert "Output written on odd.pdf (1 page" in pdflatex(tmp_path, "odd.tex")


def test_paper_of_a_build_compiles_with_tables_and_figures(tmp_path, monkeypatch):
    folder = write_report(small_build(tmp_path, (0.5, 0.9)), monkeypatch)
    text = (folder / "paper.tex").read_text()
    assert escape(TEAM) in text and TEAM not in text
    assert [text.count(rf"\begin{{{float_}}}") for float_ in ("table", "table*", "figure", "figure*")] == [1, 3, 2, 1]
    assert "\nnoisy & " in text
    page = (folder / "index.html").read_text()
    for place, model in enumerate(("baseline", "dense", "prune50", "prune90")):
        (colour,) = set(re.findall(rf"\n\\textcolor\[HTML\]{{(\w+)}}{{\\rule{{1ex}}{{1ex}}}} {model} & ", text))
        assert f"--series-{place}: #{colour.lower()};" in page
    output = pdflatex(folder, "paper.tex")
    assert "Output written on paper.pdf" in output and "figures/cost.pdf" in output
    assert "Overfull" not in output
