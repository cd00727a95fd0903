"""The people who may use the dashboard, the same on all nodes."""

import sqlalchemy as sa

from callrail_relay.domain.people import Person, name_key
from callrail_relay.outbox.tables import people
from callrail_relay.outbox.transaction import Transaction

_PERSON = sa.select(people.c.name, people.c.password, people.c.stamp, people.c.created_at)


def add_person(tx: Transaction, name: str, password: str, stamp: str) -> Person | None:
    """Add a person with a hashed *password*; None, with nothing changed, if the name is taken."""
    person = Person(name, password, stamp, tx.now)
    row = tx.insert_into(people).values(key=name_key(name), **person._asdict())
    added = tx.scalar(row.on_conflict_do_nothing().returning(people.c.name))
    return None if added is None else person


def find_person(tx: Transaction, name: str) -> Person | None:
    row = tx.execute(_PERSON.where(people.c.key == name_key(name))).first()
    return None if row is None else Person(*row)


def read_people(tx: Transaction) -> list[Person]:
    """Return everyone who has a name, by name."""
    named = _PERSON.where(people.c.key != "").order_by(people.c.key)
    return [Person(*row) for row in tx.execute(named)]


def change_password(tx: Transaction, name: str, password: str, stamp: str) -> Person | None:
    """Change the hash and the stamp, and return the person; None if there is none."""
    change = sa.update(people).where(people.c.key == name_key(name))
    tx.execute(change.values(password=password, stamp=stamp))
    return find_person(tx, name)


def remove(tx: Transaction, name: str | None = None) -> None:
    """Remove a person, or everyone."""
    which = sa.true() if name is None else people.c.key == name_key(name)
    tx.execute(sa.delete(people).where(which))


def end_sessions(tx: Transaction, stamp: str) -> None:
    """End all sessions except those with the new *stamp*."""
    tx.execute(sa.update(people).values(stamp=stamp))
