"""What cells show besides text: tables and figures, each readable without seeing it."""

from __future__ import annotations

import pytest

from k8sext.notebook import Table, free_port
from k8sext.notebook.request_map import FAMILIES, request_map


def test_a_table_reads_as_text():
    assert repr(Table(("name", "n"), [("a", 1), ("longer", 20)])) == "name    n\na       1\nlonger  20"


def test_a_table_is_markdown_and_a_bar_in_a_cell_does_not_break_it():
    assert Table(("a",), [("x|y",)])._repr_markdown_() == "| a |\n| --- |\n| x\\|y |"


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="A row has 1 cells, the table has 2 columns"):
        Table(("a", "b"), [("x",)])


def test_the_map_comes_with_alt_text_and_names_every_family_in_words():
    picture = request_map()
    data, metadata = picture._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert len(metadata["image/png"]["alt"]) > 100
    assert all(f"({number}) {name}" in data["text/plain"] for number, name in enumerate(FAMILIES, start=1))


def test_drawing_the_map_twice_gives_the_same_picture():
    assert request_map()._repr_mimebundle_() == request_map()._repr_mimebundle_()


def test_a_free_port_can_be_listened_on():
    import socket

    with socket.create_server(("127.0.0.1", free_port())):
        pass
