"""*Security* on the page *Settings*: who may sign in, and one's own password."""

from dataclasses import replace

from starlette.responses import Response

from callrail_relay.domain.people import Person
from callrail_relay.errors import RelayError
from callrail_relay.web.auth import set_cookie
from callrail_relay.web.dashboard.frame import Visit

HERE = "/setup/security"


async def add(visit: Visit) -> Response:
    """Add a person, who is the one that asks for it if they signed in by a link and say so."""
    form = visit.form
    try:
        person = await visit.dashboard.login.people.add(form.get("name", ""), form.get("password", ""))
    except RelayError as error:
        return visit.back(str(error), HERE, fault=True)
    if "me" in form:
        return _goes_on(visit, person, f"From now on, sign in as {person.name} with your password.")
    return visit.back(f"{person.name} can sign in now. Tell them the password, and to change it here.", HERE)


async def remove(visit: Visit) -> Response:
    """Remove a person, whose browsers are signed out by that."""
    await visit.dashboard.login.people.remove(visit.form.get("name", ""))
    visit.dashboard.signal()
    return visit.back("Removed, and signed out everywhere.", HERE)


async def change_password(visit: Visit) -> Response:
    """Change one's own password; this browser stays signed in."""
    password, new = (visit.form.get(field, "") for field in ("password", "new_password"))
    try:
        person = await visit.dashboard.login.people.change_password(visit.session.person, password, new)
    except RelayError as error:
        return visit.back(str(error), HERE, fault=True)
    return _goes_on(visit, person, "Password changed. Your other browsers are signed out.")


def _goes_on(visit: Visit, person: Person, words: str) -> Response:
    """Let this browser's session go on as that of *person*."""
    visit.dashboard.signal()
    response = visit.back(words, HERE)
    set_cookie(response, replace(visit.session, person=person.name, stamp=person.stamp))
    return response
