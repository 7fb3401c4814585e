import json

import pytest

from spandex.errors import SpandexError
from spandex.files.text import numbered_rows, parse_yaml, read_csv, read_json, read_numbers

TABLE = "name,value\nspeech,1\nné,2\n"
ROWS = [{"name": "speech", "value": "1"}, {"name": "né", "value": "2"}]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_table_in_other_clothes_is_the_same(tmp_path, start, end):
    path = tmp_path / "table.csv"
    path.write_bytes(start + TABLE.replace("\n", end).encode())
    assert read_csv(path, ["value"]) == ROWS
    path.write_bytes(start + json.dumps(ROWS, indent=1).replace("\n", end).encode())
    assert read_json(path) == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": is empty"),
        (b"\n\n", ": is empty"),
        (TABLE.encode("utf-16"), ": is UTF-16; save it as UTF-8"),
        ("name,value\n".encode("utf-16-le"), ": is no text; it holds zero bytes"),
        (TABLE.encode("latin-1"), ", line 3: byte 0xe9; save it as UTF-8"),
        (POINTER, ": is a pointer of Git LFS and not the file itself; git lfs pull brings that"),
        (b"name,name\na,b\n", ": column 'name' stands twice"),
        (b"kind,size\na,1\n", ": no column 'name', 'value'"),
        (b"name,value\na\n", ", line 2: has not as many cells as the first line"),
        (b"name,value\na,1,2\n", ", line 2: has not as many cells as the first line"),
        (b'name,value\na,"1\n', ", line 2: unexpected end of data"),
    ],
    ids=repr,
)
def test_table_that_cannot_be_read_is_named_with_the_place(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(SpandexError) as error:
        read_csv(path, ["name", "value"])
    assert str(error.value) == f"{path}{message}"


def test_separators_of_other_scripts_are_part_of_a_cell(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,value\na\u2028b,\x0b1\n")
    assert read_csv(path) == [{"name": "a\u2028b", "value": "\x0b1"}]


def test_cell_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("iteration,loss\n1,\n2,nan\n3,much\n")
    with pytest.raises(SpandexError, match=r"log\.csv, line 4: .*'much'"):
        read_numbers(path)
    path.write_text("iteration,loss\n1,\n2,0.5\n")
    assert read_numbers(path, ["loss"]) == [{"iteration": 1.0}, {"iteration": 2.0, "loss": 0.5}]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('name,value\n\nspeech,1\n"a\nb",2\n\nnoise,3\n')
    assert [(line, row["value"]) for line, row in numbered_rows(path)] == [(3, "1"), (5, "2"), (7, "3")]
    path.write_text('"a\nb"\n\n1\nmuch\n')
    with pytest.raises(SpandexError, match=r"table\.csv, line 5: .*'much'"):
        read_numbers(path)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"", b"1 2", POINTER], ids=lambda content: repr(content[:9]))
def test_what_is_no_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(SpandexError, match=r"a\.json: (not JSON|is a pointer of Git LFS)"):
        read_json(path)


def test_yaml_is_read_as_version_1_2_says():
    assert parse_yaml("{a: 1:30, b: 010, c: yes, d: 1e-3, e: 1_0}") == {
        "a": "1:30",
        "b": 10,
        "c": "yes",
        "d": 0.001,
        "e": 10,
    }


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: [", "!!python/object:os.system x", "[" * 5000, "\x07"], ids=repr)
def test_what_is_no_yaml_is_one_line(text):
    with pytest.raises(SpandexError) as error:
        parse_yaml(text)
    assert len(str(error.value).splitlines()) == 1
