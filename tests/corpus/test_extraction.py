"""Files become the text that a reader would see."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.corpus.curation.extract import Extracted, Unreadable, extract, tidy, unpack
from lilong.floors.corpus.curation.formats import text_format


def text_of(path: str, source: str | bytes) -> str:
    answer = extract(path, source if isinstance(source, bytes) else source.encode())
    assert isinstance(answer, Extracted), answer
    return answer.text


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("usr/share/man/zh_CN/man3/array.3tcl.gz", "roff"),
        ("usr/share/man/man7/epoll.7", "roff"),
        ("doc/html/library/os.html", "html"),
        ("doc/html/_sources/library/os.rst.txt", "rst"),
        ("notes/README", "plain"),
        ("notes/plan.md", "plain"),
        ("doc/picture.png", None),
        ("doc/archive.tar.gz", None),
    ],
)
def test_the_name_of_a_file_says_how_it_is_read(path: str, how: str | None) -> None:
    assert text_format(path) == how


def test_html_loses_navigation_scripts_and_headers_but_no_words() -> None:
    page = """<html><head><title>t</title><script>var x = "<p>no</p>";</script></head><body>
      <nav>Home | Next</nav><div role="main"><h1>Lane  houses<a class="headerlink" href="#">¶</a></h1>
      <p>Many <b>house</b>holds
      behind one gate.</p><ul><li>well</li><li>roof</li></ul><style>p {}</style></div><footer>bye</footer></body></html>"""
    assert text_of("a.html", page) == "Lane houses\n\nMany households behind one gate.\n\nwell\nroof"


def test_html_keeps_the_lines_of_preformatted_parts() -> None:
    assert text_of("a.html", "<p>Run:</p><pre>if x:\n    go()\n\n\tdone</pre>") == "Run:\n\nif x:\n    go()\n\n        done"


def test_a_row_of_an_html_table_is_a_line_and_its_cells_are_parted() -> None:
    table = "<p>a</p><table><tr><th>name</th><th>size</th></tr><tr><td>one</td><td>1</td></tr></table>"
    assert text_of("a.html", table) == "a\n\nname  size\none  1"


def test_cells_whose_ends_are_left_out_are_parted_too() -> None:
    assert text_of("a.html", "<table><tr><td>name<td>size<tr><td>one<td>1</table>") == "name  size\none  1"


def test_every_block_of_a_page_stands_apart() -> None:
    blocks = "<center>one</center>two<address>three</address><details><summary>four</summary>five</details>six"
    assert text_of("a.html", blocks) == "one\n\ntwo\n\nthree\n\nfour\n\nfive\n\nsix"


def test_all_articles_of_a_page_are_read() -> None:
    page = "<body><div>menu</div><article><p>one</p><article>a comment</article></article><article>two</article></body>"
    assert text_of("a.html", page) == "one\n\na comment\n\ntwo"


def test_an_empty_main_part_is_not_the_page() -> None:
    assert text_of("a.html", "<body><main> <p></p></main><div>what there is</div></body>") == "what there is"


def test_a_page_that_a_server_wraps_in_a_form_is_read_and_a_search_form_is_not() -> None:
    page = "<body><form id=server><h1>Tide</h1><p>It turns.</p><input value=x></form><form><label>Search</label><input></form></body>"
    assert text_of("a.html", page) == "Tide\n\nIt turns."


@pytest.mark.parametrize("endless", [" ", "<pre>", "<tr ", "<td "])
def test_what_never_ends_takes_no_square_of_its_length(endless: str) -> None:
    """The square would be hours."""
    assert text_of("a.txt", f"{endless * 300_000}x").endswith("x")
    assert text_of("a.html", f"first<!-- {endless * 300_000}") == "first"


def test_rst_loses_markup_and_directives_but_keeps_prose_and_signatures() -> None:
    source = (
        ".. _lanes:\n\nLanes\n=====\n\n.. image:: lane.png\n   :alt: a lane\n\n.. function:: walk(lane, *, slowly=False)\n\n"
        "   Walk *down* the :class:`~city.Lane`, see ``slowly`` and `the map\n   <https://example.org>`_.\n\n   .. versionadded:: 2.1\n\n.. a comment\n   of two lines\n\nEnd::\n\n   code()\n"
    )
    text = text_of("a.rst", source)
    assert text == (
        "Lanes\n\nwalk(lane, *, slowly=False)\n\n   Walk down the city.Lane, see slowly and the map.\n\n   New in version 2.1:\n\nEnd:\n\n   code()"
    )


def test_a_manual_page_is_read_with_its_fonts_escapes_and_examples() -> None:
    page = (
        '.\\" a comment\n.TH EPOLL 7\n.SH NAME\nepoll \\- I/O event\nnotification\n.PP\nUse\n.BR poll (2)\nwith \\fBcare\\fP.\n'
        ".TP\n.B \\-\\-fast\nGo fast.\n.IP \\(bu 2\nOne.\n.nf\nint x;\n    x++;\n.fi\n.de XX\nhidden\n..\n"
    )
    assert text_of("man7/epoll.7", page) == (
        "NAME\n\nepoll - I/O event notification\n\nUse poll(2) with care.\n\n--fast\nGo fast.\n\n• One.\nint x;\n    x++;"
    )


def test_a_manual_page_with_mdoc_macros_is_read() -> None:
    page = ".Dd May 1\n.Sh NAME\n.Nm cat\n.Nd concatenate files\n.Sh DESCRIPTION\nThe\n.Fl n\noption and\n.Xr less 1 .\n"
    assert text_of("man1/cat.1", page) == "NAME\n\ncat concatenate files\n\nDESCRIPTION\n\nThe -n option and less 1."


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (".ie n \\{\\\n.ds L \"\"\nfor a terminal\n.\\}\n.el \\{\\\nfor paper\n.\\}\n\\*Lend\\*L", 'for a terminal "end"'),
        (".ie t paper\n.el terminal\n.if !n paper\n.if n .B bold\n.if !t yes\n.if 'a'b' no", "terminal bold yes"),
        (".ds Me \\fIlamp\\fP\n.as Me s\nLight the \\*(Me, all \\*[Me].", "Light the lamps, all lamps."),
        ('.de XX \\" a macro\nhidden\n..\nseen', "seen"),
        (".BI \\-\\-size\\  name", "--size name"),
        ('.URL "https://harbour.example" "The harbour" "."\n.MTO mei\\(atharbour.example Mei ,', "The harbour <https://harbour.example>. Mei <mei@harbour.example>,"),
        (".Nm lamp\n.Nd lights\n.Pp\nThe\n.Nm\nburns, as\n.Nm lamps\ndo.", "lamp lights\n\nThe lamp burns, as lamps do."),
        (".TS\nallbox tab(@);\nl lb\nl l.\na@b\n.TE\n.TS\nl l.\nmei@harbour.example\t7\n.TE", "a  b\nmei@harbour.example  7"),
    ],
)  # fmt: skip
def test_a_manual_page_says_what_man_shows_of_it(page: str, text: str) -> None:
    assert text_of("man1/a.1", page) == text


def test_conditions_within_conditions_end() -> None:
    for line in (".if n ", ".if n \\{", ".ie n \\{\n", ".ie n .el "):
        assert isinstance(extract("man1/a.1", (line * 3_000).encode() + b".B x"), Extracted | Unreadable)


def test_a_manual_page_that_only_points_to_another_is_no_document() -> None:
    assert extract("man1/a.1", b".so man1/b.1\n") == Unreadable("redirect", "only points to another page")


def test_text_that_is_not_utf_8_is_refused_unless_it_declares_what_it_is() -> None:
    german = "Straße".encode("latin-1")
    assert isinstance(extract("a.txt", german), Unreadable)
    assert text_of("a.html", b'<meta charset="iso-8859-1"><p>' + german) == "Straße"
    assert text_of("man1/a.1", b"'\\\" -*- coding: latin1 -*-\n" + german) == "Straße"
    assert text_of("a.html", b'<meta charset="gb2312"><p>\xd6\xd0') == "中"
    for wrong in (b"us-ascii-2", b"undefined", b"idna", b"unicode_escape", b"rot13", b"euc-jp"):
        refused = extract("a.html", b'<meta charset="' + wrong + b'"><p>caf\xe9')
        assert isinstance(refused, Unreadable) and refused.reason == "not-utf-8"


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("x-sjis", "cp932", "潮が満ちる"), ("x-euc-jp", "euc_jp", "潮が満ちる"), ("x-gbk", "gbk", "涨潮"), ("windows-949", "cp949", "똠방각하"),
        ("x-cp1251", "cp1251", "Прилив"), ("windows-874", "cp874", "น้ำขึ้น"), ("koi8", "koi8-r", "Прилив"), ("iso-8859-8-i", "iso8859-8", "גאות"),
        ("iso-2022-jp", "iso2022_jp", "潮が満ちる"), ("utf-16", "utf-16", "涨潮"),
    ],
)  # fmt: skip
def test_pages_are_read_by_the_names_that_browsers_know(label: str, codec: str, text: str) -> None:
    assert text_of("a.html", f'<meta charset="{label}"><p>{text}'.encode(codec)) == text


def test_a_text_with_a_byte_order_mark_is_read_by_it() -> None:
    assert text_of("a.txt", "\ufeff涨潮\n".encode("utf-16-be")) == "涨潮"
    assert isinstance(extract("a.txt", "\ufeff涨\0潮".encode("utf-16-le")), Unreadable)


def test_pages_that_declare_latin_1_are_windows_1252_as_browsers_read_them() -> None:
    for name in (b"iso-8859-1", b"us-ascii", b"windows-1252"):
        assert text_of("a.html", b'<meta charset="' + name + b'"><p>\x93tide\x94 \x80 \x81 \xe9') == "\u201ctide\u201d € \x81 é"


def test_a_file_with_nul_bytes_is_binary() -> None:
    answer = extract("a.txt", b"a\x00b")
    assert isinstance(answer, Unreadable) and answer.reason == "binary"


def test_gzip_is_taken_off_and_a_bomb_or_damage_is_refused() -> None:
    assert unpack("a.txt.gz", gzip.compress(b"lane")) == b"lane"
    assert isinstance(unpack("a.txt.gz", gzip.compress(bytes(40 << 20))), Unreadable)
    assert isinstance(unpack("a.txt.gz", b"\x1f\x8bnot"), Unreadable)
    assert unpack("a.txt", b"\x1f\x8b") == b"\x1f\x8b"


@given(st.text())
def test_tidy_is_idempotent_and_never_keeps_trailing_blanks(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert "\n\n\n" not in once and " \n" not in once and "\r" not in once


@given(st.binary(max_size=300), st.sampled_from(["a.html", "a.rst", "a.txt", "man1/a.1"]))
def test_any_bytes_get_an_answer(data: bytes, path: str) -> None:
    answer = extract(path, data)
    assert isinstance(answer, Unreadable) or answer.text.strip("\n")


@given(st.text(alphabet="\\.fB[](){}\"'*|-ab n\n", max_size=200))
def test_any_roff_gets_an_answer(source: str) -> None:
    assert isinstance(extract("man1/a.1", source.encode()), Unreadable | Extracted)


def test_a_mallard_page_is_read_as_its_reader_sees_it() -> None:
    page = """<?xml version="1.0"?>
<page xmlns="http://projectmallard.org/1.0/" type="topic" id="tide">
 <info><link type="guide" xref="harbour"/><credit><name>Ana</name><email>ana@harbour-lab.dev</email></credit><desc>Not shown.</desc></info>
 <title>The tide</title><p>Open the <gui xref="x">Gates</gui> and <link xref="wait">wait <em>here</em></link>.</p>
 <!-- a remark --><steps><item><p>Look at the board.</p></item><item><p>Go &amp; see.</p></item></steps>
 <media type="image" src="tide.png"/><screen><![CDATA[$ tide --now <port>
high]]></screen>
 <section id="more"><title>More</title><comment><p>Ask Ana.</p></comment><p>That is all.</p></section>
</page>"""
    found = extract("usr/share/help/C/harbour/tide.page", page.encode())
    assert isinstance(found, Extracted) and found.format == "mallard"
    assert [line for line in found.text.split("\n") if line] == [
        "The tide", "Open the Gates and wait here.", "Look at the board.", "Go & see.", "$ tide --now <port>", "high", "More", "That is all.",
    ]  # fmt: skip
