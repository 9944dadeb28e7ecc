"""What commands write into a pipe can be cut by a program; what people look at has boxes."""

from __future__ import annotations

import io

import pytest

from gateway.node.rotation import Secret
from gateway.terminal import output
from gateway.terminal.output import Terminal, table

SERVICE = "FI-DEMO/GOV/9000001-1/vastaanotto/" + "palvelutarve" * 12
ROWS = [[SERVICE, "1"], ["[dim]always empty[/]", "first\nsecond\tthird"]]


def written(*, is_terminal: bool, lines: bool = False) -> str:
    into = io.StringIO()
    console = Terminal(file=into, width=80, highlight=False, force_terminal=is_terminal, no_color=True)
    console.print(table("[bold]Flows[/]", ("service", "count"), ROWS, lines=lines, widest=0))
    return into.getvalue()


@pytest.mark.parametrize("lines", [False, True])
def test_piped_table_is_a_line_for_each_row_with_tabs(lines: bool) -> None:
    assert written(is_terminal=False, lines=lines).splitlines() == [
        "Flows",
        "service\tcount",
        f"{SERVICE}\t1",
        "always empty\tfirst; second third",
    ]


def test_table_for_people_is_a_box_that_fits() -> None:
    drawn = written(is_terminal=True)

    assert "┃" in drawn
    assert SERVICE not in drawn


def test_line_is_not_broken_in_a_pipe() -> None:
    into = io.StringIO()
    Terminal(file=into, width=80, highlight=False).print(f"more: {SERVICE} {SERVICE}")

    assert into.getvalue() == f"more: {SERVICE} {SERVICE}\n"


def test_consoles_of_the_commands_are_such_terminals() -> None:
    assert isinstance(output.console, Terminal)
    assert isinstance(output.errors, Terminal)


def test_each_secret_is_followed_by_its_own_sentence() -> None:
    said = {secret: secret.kept for secret in Secret}

    assert len(set(said.values())) == len(Secret)
    assert "back the file up" in said[Secret.INDEX]
    assert "back the file up" in said[Secret.WRAPPING]
    assert "nothing in the database depends on it" in said[Secret.TOKEN]
