"""Tables as aligned lines and as HTML."""

from __future__ import annotations

from deterministic.ground.tables import aligned, details, html_table, paragraph


def test_columns_are_as_wide_as_their_widest_cell_and_no_line_ends_with_spaces() -> None:
    assert aligned([("level", "time"), ("True", "2.5 s"), ("a", "")]) == ["  level  time", "  True   2.5 s", "  a"]
    assert aligned([("a", "b")], indent="") == ["a  b"]
    assert aligned([]) == []


def test_cells_are_escaped_and_rows_stand_out_on_request() -> None:
    page = html_table([("<a>", "b"), ("c", "d")], head=("one", "two"), highlighted=[1])
    assert page.count("<tr>") == 3
    assert "&lt;a&gt;" in page
    assert "<th " in page
    head, first, second = page.split("<tr>")[1:]
    assert "background" not in head + first
    assert "background" in second
    assert html_table([], head=("one",)) == ""
    assert "<b>&amp;</b>" in paragraph("&")
    assert "<pre>&lt;</pre>" in details("what", "<")
