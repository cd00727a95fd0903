"""The people who may use the dashboard, the same on all nodes."""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.people import Person, name_key
from callrail_relay.outbox.rows import insert_into
from callrail_relay.outbox.tables import people

_PERSON = sa.select(people.c.name, people.c.password, people.c.stamp, people.c.created_at)


def add_person(
    connection: sa.Connection, now: datetime, name: str, password: str, stamp: str
) -> Person | None:
    """Add a person with a hashed *password*; None, with nothing changed, if the name is taken."""
    person = Person(name, password, stamp, now)
    row = insert_into(connection, people).values(key=name_key(name), **person._asdict())
    added = connection.scalar(row.on_conflict_do_nothing().returning(people.c.name))
    return None if added is None else person


def find_person(connection: sa.Connection, _now: datetime, name: str) -> Person | None:
    row = connection.execute(_PERSON.where(people.c.key == name_key(name))).first()
    return None if row is None else Person(*row)


def read_people(connection: sa.Connection, _now: datetime) -> list[Person]:
    """Return everyone who has a name, by name."""
    named = _PERSON.where(people.c.key != "").order_by(people.c.key)
    return [Person(*row) for row in connection.execute(named)]


def change_password(
    connection: sa.Connection, now: datetime, name: str, password: str, stamp: str
) -> Person | None:
    """Change the hash and the stamp, and return the person; None if there is none."""
    change = sa.update(people).where(people.c.key == name_key(name))
    connection.execute(change.values(password=password, stamp=stamp))
    return find_person(connection, now, name)


def remove(connection: sa.Connection, _now: datetime, name: str | None = None) -> None:
    """Remove a person, or everyone."""
    which = sa.true() if name is None else people.c.key == name_key(name)
    connection.execute(sa.delete(people).where(which))


def end_sessions(connection: sa.Connection, _now: datetime, stamp: str) -> None:
    """End all sessions except those with the new *stamp*."""
    connection.execute(sa.update(people).values(stamp=stamp))
