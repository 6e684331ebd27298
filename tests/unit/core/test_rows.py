"""The one reader: what a file is, its rows, and broken rows by their line."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.rows import BrokenRow, Row, RowFile, open_rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(content: str | bytes, name: str = "data.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write_file


def good(file: RowFile) -> list[dict[str, Any]]:
    return [row.values for row in file if isinstance(row, Row)]


def broken(file: RowFile) -> dict[int, str]:
    return {row.line: row.text.en for row in file if isinstance(row, BrokenRow)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings(write: Any, encoding: str) -> None:
    file = open_rows(write("问题,回答\n你好，世界,很好㐀\n", encoding=encoding))
    assert file.encoding == encoding
    assert good(file) == [{"问题": "你好，世界", "回答": "很好㐀"}]


def test_mostly_utf8_with_a_stray_byte_names_the_line(write: Any) -> None:
    words = "text,label\n" + "今天天气很好,好\n" * 50
    file = open_rows(write(words.encode() + b"caf\xe9,x\n"))
    assert file.encoding == "utf-8"
    assert len(good(file)) == 50
    assert list(broken(file)) == [52]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1x,2x\n", [{"a": "1x", "b": "2x"}]),
        ("a\tb\nx,y\tz\n", [{"a": "x,y", "b": "z"}]),
        ("a;b\nx,1;y,2\n", [{"a": "x,1", "b": "y,2"}]),
        ("a|b\nx|y\n", [{"a": "x", "b": "y"}]),
        ('a,b\n"x, ""y""",z\n', [{"a": 'x, "y"', "b": "z"}]),
        ('a,b\n"say \\"hi\\", now",z\nq,r\n', [{"a": 'say "hi", now', "b": "z"}, {"a": "q", "b": "r"}]),
        ("'a','b'\n'x, y','z'\n", [{"a": "x, y", "b": "z"}]),
        ("a,b\r\nx,y\r\n\r\nz,w", [{"a": "x", "b": "y"}, {"a": "z", "b": "w"}]),
        ("a,b\rx,y\rz,w\r", [{"a": "x", "b": "y"}, {"a": "z", "b": "w"}]),
        ('q\ta\n"Hi" he said\tx\ny\t"so" they say\n', [{"q": '"Hi" he said', "a": "x"}, {"q": "y", "a": '"so" they say'}]),
        ("text\nhello, world\nfoo\n", [{"text": "hello, world"}, {"text": "foo"}]),
    ],
)  # fmt: skip
def test_dialects(write: Any, content: str, rows: list[dict[str, str]]) -> None:
    file = open_rows(write(content))
    assert file.container == "csv"
    assert good(file) == rows
    assert broken(file) == {}


def test_quoted_line_breaks_keep_true_line_numbers(write: Any) -> None:
    file = open_rows(write('q,a\n"one\ntwo\nthree",x\ny,z\nbad\n'))
    assert [(row.line, isinstance(row, Row)) for row in file] == [(2, True), (5, True), (6, False)]


def test_broken_rows_are_named_and_the_others_read(write: Any) -> None:
    lines = [
        "q,a",
        "1,one",
        "2,two,three",
        '"3,open',
        '4,"four"',
        "5,nul\0",
        "",
        '"6"x,six',
        "7,seven",
    ]
    file = open_rows(write("\n".join(lines) + "\n"))
    assert [row["q"] for row in good(file)] == ["1", "4", "7"]
    found = broken(file)
    assert list(found) == [3, 4, 6, 8]
    assert "3 fields" in found[3]
    assert "never closed" in found[4]
    assert "NUL" in found[6]


def test_an_unterminated_quote_does_not_swallow_the_rest(write: Any) -> None:
    content = 'q,a\nx,"open\n' + "".join(f"{i},row {i}\n" for i in range(30_000))
    file = open_rows(write(content))
    assert list(broken(file)) == [2]
    assert len(good(file)) == 30_000


def test_a_file_without_header_keeps_its_first_row(write: Any) -> None:
    file = open_rows(write("今天天气很好，我们出去玩。\t好\n下雨了，真烦。\t坏\n"))
    assert file.columns == ("column_1", "column_2")
    assert [row.line for row in file] == [1, 2]


def test_a_word_list_has_no_header_unless_it_names_columns(write: Any) -> None:
    words = "一丈厚的烧饼\t吃不透\n一丈高的房子\t盛不下\n"
    assert open_rows(write(words, "list.txt")).columns == ("column_1", "column_2")
    assert open_rows(write("问题\t回答\n" + words, "list.txt")).columns == ("问题", "回答")


def test_row_numbers_of_pandas(write: Any) -> None:
    file = open_rows(write(",text,label\n0,fine,good\n1,awful,bad\n"))
    assert file.columns == ("unnamed_0", "text", "label")


def test_plain_text_is_one_column(write: Any) -> None:
    file = open_rows(write("The first sentence of a book.\nAnd the second, too.\n", "book.txt"))
    assert file.columns == ("text",)
    assert len(good(file)) == 2


def test_json_lines(write: Any) -> None:
    lines = ['{"a": 1}', "", '{"b": [1]}', "{bad", "[1]", '{"a": "\0"}', '{"a": "\u2028x"}']
    file = open_rows(write("\n".join(lines), "d.jsonl"))
    assert file.container == "jsonl"
    assert file.columns == ("a", "b")
    assert good(file) == [{"a": 1}, {"b": [1]}, {"a": "\u2028x"}]
    assert list(broken(file)) == [4, 5, 6]


def test_content_decides_not_the_name(write: Any) -> None:
    assert open_rows(write('{"a": 1}\n{"a": 2}\n', "x.csv")).container == "jsonl"
    assert open_rows(write("a,b\nx,y\n", "x.json")).container == "csv"


def test_a_broken_first_line_is_still_json_lines(write: Any) -> None:
    file = open_rows(write('{"a": 1,\n{"a": 2}\n', "x.dat"))
    assert file.container == "jsonl"
    assert good(file) == [{"a": 2}]


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": 1}, {"a": 2}]',
        '[\n  {\n    "a": 1\n  },\n  {"a": 2}\n]\n',
        '{"data": [{"a": 1}, {"a": 2}]}',
        '{\n "version": [\n {"a": 1}, {"a": 2}]}',
        '{\n"a": 1\n}\n{\n"a": 2\n}\n',
    ],
)
def test_json_arrays_and_their_relatives(write: Any, content: str) -> None:
    file = open_rows(write(content, "d.json"))
    assert (file.container, good(file)) == ("json", [{"a": 1}, {"a": 2}])


def test_a_pretty_printed_conversation_is_one_row(write: Any) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    file = open_rows(write(json.dumps(row, indent=1), "d.json"))
    assert good(file) == [row]


def test_a_cut_json_array_gives_its_whole_rows(write: Any) -> None:
    file = open_rows(write('[{"a": 1},\n{"a": 2},\n{"a": "unfin', "d.json"))
    assert good(file) == [{"a": 1}, {"a": 2}]
    assert list(broken(file)) == [3]
    file = open_rows(write('[{"a": 1},\n{"a": 2}', "e.json"))
    assert [*good(file), *broken(file)] == [{"a": 1}, {"a": 2}, 2]


def test_json_values_longer_than_a_chunk(write: Any) -> None:
    rows = [{"a": "x" * 300_000}, {"a": "\\u4f60" * 70_000}, {"a": 3}]
    assert good(open_rows(write(json.dumps(rows), "d.json"))) == rows


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "d.bin"
    messages = [[{"role": "user", "content": "q"}], [{"role": "user", "content": "r"}]]
    pq.write_table(pa.table({"n": [1, 2], "messages": messages}), path)
    file = open_rows(path)
    assert (file.container, file.columns) == ("parquet", ("n", "messages"))
    assert [row.line for row in file] == [1, 2]
    assert good(file)[0] == {"n": 1, "messages": messages[0]}
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableError, match="cut"):
        open_rows(path)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_says_what_to_do(write: Any, content: bytes) -> None:
    with pytest.raises(UnreadableError, match="is empty") as caught:
        open_rows(write(content))
    assert "表头" in caught.value.text.zh


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x1f\x8b\x08", b"%PDF-1.7"])
def test_other_kinds_of_files_are_refused(write: Any, head: bytes) -> None:
    with pytest.raises(UnreadableError, match="Save it as CSV"):
        open_rows(write(head + b"0" * 20))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No data file"):
        open_rows(tmp_path / "none.csv")
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(UnreadableError, match=r"train\.jsonl"):
        open_rows(tmp_path)


def test_memory_stays_bounded(write: Any) -> None:
    rows = json.dumps([{"a": f"{i} " * 50} for i in range(60_000)])
    file = open_rows(write(rows, "d.json"))
    tracemalloc.start()
    count = sum(1 for _ in file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 4 * 2**20
