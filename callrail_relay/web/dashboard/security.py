"""*Security* on the page *Settings*: who may sign in, and one's own password."""

from dataclasses import replace

from starlette.responses import Response

from callrail_relay.domain.people import Person, TooManyTries
from callrail_relay.errors import RelayError
from callrail_relay.web.auth import set_cookie
from callrail_relay.web.dashboard.frame import Visit, later
from callrail_relay.web.dashboard.setup import show_security
from callrail_relay.web.dashboard.words import say


async def add(visit: Visit) -> Response:
    """Add a person, who is the one that asks for it if they signed in by a link and say so."""
    form = visit.form
    person = await visit.dashboard.login.people.add(form.get("name", ""), form.get("password", ""))
    if "me" in form:
        return _goes_on(visit, person, say("person_me", name=person.name))
    return visit.back(say("person_added", name=person.name))


async def remove(visit: Visit) -> Response:
    """Remove a person, whose browsers are signed out by that."""
    await visit.dashboard.login.people.remove(visit.form.get("name", ""))
    visit.dashboard.signal()
    return visit.back(say("person_removed"))


async def change_password(visit: Visit) -> Response:
    """Change one's own password; this browser stays signed in."""
    password, new = (visit.form.get(field, "") for field in ("password", "new_password"))
    try:
        person = await visit.dashboard.login.people.change_password(visit.session.person, password, new)
    except TooManyTries as error:
        return later(await show_security(visit, fault=str(error), status=429), error.wait)
    except RelayError as error:
        return await show_security(visit, fault=str(error))
    return _goes_on(visit, person, say("password_changed"))


def _goes_on(visit: Visit, person: Person, words: str) -> Response:
    """Let this browser's session go on as that of *person*."""
    visit.dashboard.signal()
    response = visit.back(words)
    set_cookie(response, replace(visit.session, person=person.name, stamp=person.stamp))
    return response
