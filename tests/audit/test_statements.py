"""Statements that every exchange runs keep no more in memory the more exchanges there are."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, Engine, MetaData, Select, String, Table, insert, select

from audit.log.statements import Counted

MOST = 100
TABLE = Table("things", MetaData(), Column("name", String, primary_key=True))


def counted(made: list[int]) -> Counted:
    """What finds things by name, and puts down for how many names each statement was made."""

    def statement(names: list[Any]) -> Select[Any]:
        made.append(len(names))
        return select(TABLE.c.name).where(TABLE.c.name.in_(names)).order_by(TABLE.c.name)

    return Counted(statement)


@pytest.fixture
def things(engine: Engine) -> Engine:
    with engine.begin() as connection:
        TABLE.create(connection)
        connection.execute(insert(TABLE), [{"name": f"n{number:03}"} for number in range(MOST)])
    return engine


def test_few_statements_find_any_number_of_values(things: Engine) -> None:
    made: list[int] = []
    finding = counted(made)

    with things.begin() as connection:
        for number in range(1, MOST + 1):
            names = [f"n{index:03}" for index in range(number)]
            assert [name for (name,) in finding.rows(connection, names)] == names

    assert made == [1, 2, 4, 8, 16, 32, 64, 128]


def test_what_is_not_there_is_not_found_for_being_asked_twice(things: Engine) -> None:
    finding = counted([])

    with things.begin() as connection:
        assert finding.rows(connection, ["n001", "other", "another"]) == [("n001",)]
        assert finding.rows(connection, ["other", "another", "n001"]) == [("n001",)]


def test_no_values_find_nothing_and_ask_nobody(things: Engine) -> None:
    made: list[int] = []

    with things.begin() as connection:
        assert counted(made).rows(connection, []) == []

    assert made == []
