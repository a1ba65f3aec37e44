"""Tables of plain text."""

from spti_ray.io.text_table import Column, text_table


def test_columns_are_as_wide_as_their_cells_and_numbers_stand_on_the_right():
    columns = (Column("role"), Column("items", is_number=True), Column("note"))
    assert text_table(columns, [["writer", "5", ""], ["a", "100000", "slow"]]) == [
        "role     items  note",
        "writer       5",
        "a       100000  slow",
    ]


def test_a_column_can_be_wider_than_its_cells_and_without_headings_there_is_no_first_line():
    assert text_table((Column(min_width=5), Column(is_number=True, min_width=3)), [["a", "1"]]) == ["a        1"]
    assert text_table((Column(), Column()), []) == []


def test_cells_are_plain_text_and_neither_cut_nor_wrapped():
    cell = "[red]some/model[/red] " + "long " * 500
    assert text_table((Column(), Column()), [[cell, "1 of 2"]]) == [f"{cell}  1 of 2"]
    assert len(text_table((Column(),), [["one\u2028line"]])) == 1
