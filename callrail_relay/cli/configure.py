"""``configure``: the wizard that sets everything up, and its form for scripts."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from callrail_relay import errors
from callrail_relay.cli import console
from callrail_relay.cli.console import ask, confirmed, given, has_terminal, load_context, say, sentence, show
from callrail_relay.cli.expose import bring_up, read_tunnel
from callrail_relay.cli.operate import read_status, why_not_for_if3
from callrail_relay.cli.send import send
from callrail_relay.cli.service import offer
from callrail_relay.domain.public_url import read_public_url
from callrail_relay.domain.tunnels import Kind
from callrail_relay.sentences import STEPS, listed

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.credentials import Found, SavedSetup
    from callrail_relay.service.setup import Question

T = TypeVar("T")
_LONGEST_KEY = 4096


async def configure(
    *,
    api_key_stdin: bool = False,
    account_id: str | None = None,
    company_id: str | None = None,
    tracking_number: str | None = None,
    public_url: str | None = None,
    accept_terms: bool = False,
    api_url: str | None = None,
    no_verify: bool = False,
    secrets_file: bool = False,
    webhooks: bool = False,
    remove_webhooks: bool = False,
) -> None:
    from callrail_relay.bootstrap.credentials import hook_url, known_api_key, save_setup

    route_options = {"account_id": account_id, "company_id": company_id, "tracking_number": tracking_number}
    alone = not any((api_key_stdin, *route_options.values(), public_url, accept_terms, api_url, no_verify))
    if remove_webhooks or (webhooks and alone):
        if remove_webhooks and (webhooks or not alone):
            raise errors.UsageError(sentence("webhooks_alone"))
        change = _remove_webhooks if remove_webhooks else _register
        show(await change(load_context(), use_file=secrets_file), "Done.")
        return
    missing = [f"--{name}".replace("_", "-") for name, value in route_options.items() if value is None]
    if no_verify and missing:
        raise errors.UsageError(sentence("nothing_looked_up", options=listed(missing)))
    public_url = None if public_url is None else read_public_url(public_url)
    overrides: dict[str, dict[str, object]] = {
        "callrail": {"api_url": api_url, **(route_options if no_verify else {})},
        "server": {"public_url": public_url},
    }
    context = load_context(overrides=overrides, must_exist=False)
    known, use_file = await _store_or_file(partial(known_api_key, context), use_file=secrets_file)
    begin_step("key")
    _settle_terms(context, accepted=accept_terms)
    if no_verify:
        key, is_new = _settle_key(known, from_stdin=api_key_stdin)
        say(sentence("unasked"))
        route: dict[str, object] = {name: getattr(context.settings.callrail, name) for name in route_options}
    else:
        key, is_new, accounts = await _sign_in(context, known, from_stdin=api_key_stdin)
        begin_step("number")
        route = await _find_route(context, key, accounts, route_options)
    changes: dict[str, dict[str, object]] = {
        "callrail": {**({"api_url": api_url} if api_url else {}), **route, "accepted_terms": True},
        **({"server": {"public_url": public_url}} if public_url else {}),
    }
    save = partial(save_setup, context, changes, new_key=key if is_new else None)
    saved, use_file = await _store_or_file(save, use_file=use_file)
    _say_saved(context, saved)
    guides = has_terminal() and not given.as_json
    await _lead_to_address(ask=guides, has_address=public_url is not None, is_changed=saved.is_changed)
    document = {"settings_file": str(context.config_path), **route}
    if webhooks:
        document["webhooks"] = await _register(load_context(), use_file=use_file)
    settings = load_context().settings
    begin_step("webhook")
    say(why_not_for_if3(settings.server.public_url) or sentence("paste_url"))
    if saved.is_new_url:
        say(sentence("new_url"))
    url = hook_url(settings, saved.token)
    document |= {"hook_url": url, "secrets": {"api_key": saved.key_place, "hook_token": saved.token_place}}
    show(document, url)
    if guides:
        await _send_test()
        await _show_checklist()


async def _store_or_file(work: Callable[..., Awaitable[T]], *, use_file: bool) -> tuple[T, bool]:
    """Return *work*'s result with a place for secrets; if the keyring fails, a person may choose the file."""
    try:
        return await work(use_file=use_file), use_file
    except errors.SecretError as error:
        if use_file or not has_terminal():
            raise
        say(console.split_remedy(str(error))[0])
        if isinstance(error, errors.KeyringError):
            say(sentence("may_be_locked"))
        if not confirmed(sentence("ask_secrets_file")):
            raise
        return await work(use_file=True), True


def _say_saved(context: "AppContext", saved: "SavedSetup") -> None:
    say(f"Settings: {context.config_path}")
    say(f"API key: {saved.key_place}")
    if saved.outranks_key:
        say(sentence("key_outranked", place=saved.outranks_key))
    say(f"Webhook secret: {saved.token_place}")
    for name in saved.overruled:
        say(sentence("overruled", name=name))


def _settle_terms(context: "AppContext", *, accepted: bool) -> None:
    from callrail_relay.bootstrap.context import TERMS

    if context.settings.callrail.accepted_terms:
        return
    say(TERMS)
    if accepted:
        say("Accepted with --accept-terms.")
        return
    if not has_terminal():
        raise errors.SettingsError(sentence("terms_needed"))
    while (answer := ask(sentence("ask_terms")).lower()) != "yes":
        if answer in ("n", "no"):
            raise errors.SettingsError(sentence("terms_refused"))
        say(sentence("ask_terms_again"))


async def _sign_in(
    context: "AppContext", known: "Found | None", *, from_stdin: bool
) -> tuple[str, bool, "Question"]:
    """Return the API key, whether it's new, and its accounts; ask again while CallRail refuses it."""
    from callrail_relay.bootstrap.wiring import open_callrail
    from callrail_relay.service.setup import ask_for_account

    while True:
        is_new = False
        try:
            key, is_new = _settle_key(known, from_stdin=from_stdin)
            with console.working(sentence("asking_key")):
                async with open_callrail(context, key) as callrail:
                    return key, is_new, await ask_for_account(callrail)
        except (errors.SecretError, errors.RefusedByCallRail) as error:
            if not has_terminal() or (known is not None and known.outside):
                raise
            console.complain(str(error))
            if isinstance(error, errors.RefusedByCallRail) and not is_new:
                known = None  # Enter must not keep the refused one


def _settle_key(known: "Found | None", *, from_stdin: bool) -> tuple[str, bool]:
    """Return the API key, and whether it's a new one to store."""
    from callrail_relay.service.setup import read_key

    if from_stdin and not has_terminal():
        try:
            return read_key(sys.stdin.buffer.read(_LONGEST_KEY).decode("utf-8-sig")), True
        except UnicodeDecodeError as error:
            raise errors.SecretError(sentence("key_not_text")) from error
    if known is not None and known.outside and not from_stdin:
        say(sentence("key_known", place=known.source))
        return known.reveal(), False
    if has_terminal():
        if known is not None:
            say(sentence("key_kept_by_enter", place=known.source))
        answer = ask(sentence("ask_key"), hidden=True)
        if answer or known is None:
            return read_key(answer), True
    elif known is None:
        raise errors.SecretError(sentence("no_key"))
    else:
        say(sentence("key_kept", place=known.source))
    return known.reveal(), False


async def _find_route(
    context: "AppContext", key: str, accounts: "Question", named: Mapping[str, str | None]
) -> dict[str, object]:
    from callrail_relay.bootstrap.wiring import open_callrail
    from callrail_relay.service.setup import ask_for_company, ask_for_number

    former = context.settings.callrail
    async with open_callrail(context, key) as callrail:
        account = _settle(accounts, named["account_id"], former.account_id)
        with console.working(sentence("asking_companies")):
            companies = await ask_for_company(callrail, account)
        company = _settle(companies, named["company_id"], former.company_id)
        with console.working(sentence("asking_numbers")):
            numbers = await ask_for_number(callrail, account, company)
        number = _settle(numbers, named["tracking_number"], former.tracking_number)
    return {"account_id": account, "company_id": company, "tracking_number": number}


def _settle(question: "Question", given: str | None, former: str | None) -> str:
    """Return the choice, and say it; ask a person if several are left. *former* is from the settings."""
    try:
        answer = question.in_advance(given)
    except errors.RefusedByCallRail:
        _list(question)
        raise
    if answer is not None:
        choice, because = answer
        say(f"{question.what.capitalize()}: {choice.line}, {because}.")
        return choice.value
    known = question.find(former) if former else None
    if has_terminal():
        _list(question)
        last = len(question.choices)
        keep = f"; Enter for {known.line}" if known else ""
        which = f"Which {question.what}? 1 to {last}, or its name{keep}"
        while (chosen := question.answered(ask(which, default=known.value if known else None))) is None:
            say(sentence("ask_which", last=last))
        return chosen.value
    if known is not None:
        say(f"{question.what.capitalize()}: {known.line}, as in the settings.")
        return known.value
    _list(question)
    raise errors.UsageError(sentence("several", plural=question.plural, option=question.option))


def _list(question: "Question") -> None:
    if question.choices:
        say(sentence("choices", what=question.plural.capitalize()))
    for place, choice in enumerate(question.choices, start=1):
        say(f"  {place}. {choice.line}")


async def _register(context: "AppContext", *, use_file: bool) -> dict[str, Any]:
    """Register at CallRail and say what was done. Raises SecretError if CallRail returns no signing key."""
    from callrail_relay.bootstrap.credentials import register_webhooks

    registrations, place, outranked_by = await register_webhooks(context, use_file=use_file)
    for one in registrations:
        say(f"Company {one.company_id}: {console.WORDS['webhooks'][one.change]}")
        if not one.webhooks.active:
            say(sentence("switched_off"))
    if place is not None:
        say(sentence("signing_keys", place=place))
    if outranked_by is not None:
        say(sentence("signing_keys_outranked", place=outranked_by))
    if missing := [one.company_id for one in registrations if one.webhooks.signing_key is None]:
        raise errors.SecretError(sentence("no_signing_key", companies=", ".join(missing)))
    companies = [
        {"company_id": id_, "change": change, "active": webhooks.active, "signing_key": True}
        for id_, change, webhooks in registrations
    ]
    return {"companies": companies, "signing_keys": place}


async def _remove_webhooks(context: "AppContext", *, use_file: bool) -> dict[str, Any]:  # noqa: ARG001 - as _register
    from callrail_relay.bootstrap.credentials import remove_webhooks

    removed = await remove_webhooks(context)
    say(sentence("hooks_removed", companies=", ".join(removed)) if removed else sentence("no_hooks"))
    return {"companies": removed}


def begin_step(step: str) -> None:
    """Say which step of the wizard this is; its steps are the checklist's."""
    if has_terminal():
        say(f"\nStep {list(STEPS).index(step) + 1} of {len(STEPS)}: {STEPS[step]}")


async def _lead_to_address(*, ask: bool, has_address: bool, is_changed: bool) -> None:
    """Lead a person from saved settings to a running, reachable relay, or say what comes next."""
    async with console.opened_relay() as relay:
        has_former = is_changed and bool(await relay.store.running())
    if ask:
        begin_step("address")
        await (_restart() if has_former else offer())
        if not has_address:
            await _settle_address()
    else:
        if has_former:
            say(f"{sentence('former_settings')} {sentence('restart_later')}")
        say(f"{sentence('unproven')}\n{sentence('next')}")
    await _settle_pause(ask=ask)


async def _settle_pause(*, ask: bool) -> None:
    """Resume sending if the person agrees, or say how: setting up alone ends no pause."""
    async with console.opened_relay() as relay:
        if not any(one.account.paused_since for one in await relay.operations.account_statuses()):
            return
        if ask and confirmed(sentence("ask_resume")):
            await relay.operations.resume(None)
        else:
            say(sentence("still_paused"))


async def _restart() -> None:
    """Restart the service if the person agrees, so that it uses the current settings."""
    from callrail_relay.bootstrap import service_setup

    say(sentence("former_settings"))
    service = None
    with suppress(errors.RelayError):
        service = service_setup.find_installed()
    if service is None or not service.running or not confirmed(sentence("ask_restart")):
        say(sentence("restart_later"))
        return
    with console.working(sentence("restarting")):
        _, fault = await service_setup.restart(service.kind, given.config)
    say(fault or sentence("service_runs"))


async def _settle_address() -> None:
    """Ask for a public URL, or the tunnel that makes one, until there is one or a person skips it."""
    from callrail_relay.bootstrap.tunnels import find_program, save_public_url

    say(sentence("address"))
    while True:
        context = load_context()
        former = context.settings.server.public_url
        enter = sentence("enter_keeps" if former else "enter_skips", former=former)
        answer = ask(sentence("ask_address", enter=enter))
        if not answer:
            return
        try:
            if answer.lower().split()[0] == Kind.SSH:
                say(sentence("ssh_way"))
                continue
            if answer.lower() in (Kind.TAILSCALE, Kind.NGROK, Kind.CLOUDFLARED):
                kind = Kind(answer.lower())
                find_program(kind)
                host = None if kind is Kind.TAILSCALE else ask(sentence("ask_host", kind=kind))
                _, words = await bring_up(context, read_tunnel(kind, host or None))
                say(words)
            else:
                url = answer if "//" in answer or "." not in answer else f"https://{answer}"
                save_public_url(context, read_public_url(url))
        except errors.RelayError as error:
            console.complain(str(error))
        else:
            return


async def _send_test() -> None:
    """Send a text to the person's own phone: nothing else proves that the API key may send."""
    begin_step("text")
    say(sentence("test"))
    while number := ask(sentence("ask_phone")):
        try:
            console.read_number(number)
            await send(to=number, message=sentence("test_text"))
        except errors.RelayError as error:
            console.complain(str(error))
        else:
            return


async def _show_checklist() -> None:
    """Show what is done of the first run, seen live, and what comes next."""
    from callrail_relay.cli.render import checklist_lines
    from callrail_relay.domain.health import checklist

    async with console.opened_relay() as relay:
        facts = (await read_status(relay)).facts
    if items := checklist(facts):
        say("\n".join(map(str, checklist_lines(items))) + "\n")
