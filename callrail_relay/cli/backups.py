"""``backup``, ``restore`` and ``uninstall``: moving the relay to another computer, and removing it."""

from pathlib import Path

from callrail_relay.cli import console
from callrail_relay.cli.console import given, load_context, require_yes, say, sentence, show
from callrail_relay.domain.message import instant
from callrail_relay.errors import KeyringError, RelayError, Unavailable
from callrail_relay.sentences import local, plural


async def backup(file: Path, with_api_key: bool = False) -> None:
    from callrail_relay.bootstrap.backups import make_backup

    context = load_context()
    made = await make_backup(context, file, with_api_key=with_api_key)
    if context.store_file is None:
        say("It holds settings and secrets only, and no database password. `pg_dump` backs up the rest.")
    what = {"texts": made.has_store, "api_key": made.has_api_key}
    document = {"file": str(file), "made_at": instant(made.made_at), **what}
    show(document, f"The backup is {file}. Keep it private.")


async def restore(file: Path, secrets_file: bool = False) -> None:
    from callrail_relay.bootstrap import backups

    try:
        made, places, open_texts = await backups.restore(given.config, file, use_file=secrets_file)
    except KeyringError as error:
        why, _ = console.split_remedy(str(error))  # `configure` would leave no room for what is restored
        raise KeyringError(f"{why} {sentence('restore_secrets')}") from error
    context = load_context()
    say(f"Restored the backup of {local(made.made_at)}. Settings: {context.config_path}")
    for name, place in places.items():
        say(f"{name.words[:1].upper()}{name.words[1:]}: {place}")
        if outside := context.secrets.shadowed_by(name):
            say(f"  The {outside} overrides it; unset that to use the stored one.")
    held = unchecked = 0
    if open_texts:
        say(f"{plural(open_texts, 'text')} may have been sent since. Checking with CallRail...")
        held, unchecked, fault = await backups.look_up(context)
        say(f"Sent since: {open_texts - held}. On hold until you approve them: {held}.")
        if unchecked:
            say(f"Not looked up yet: {unchecked}. {fault or ''} A running `serve` continues.")
    if not made.has_api_key:
        say("The API key is not in the backup: enter it again with `callrail-relay configure`.")
    say("Stop the old relay before you start this one, and before `callrail-relay expose`.")
    document = {
        "made_at": instant(made.made_at),
        "settings_file": str(context.config_path),
        "texts": {"not_final": open_texts, "held": held, "not_looked_up": unchecked},
    }
    show(document, "Restored. The webhook URL in IF3 is still the same.")


async def uninstall(data: bool = False, yes: bool = False) -> int:
    from callrail_relay.bootstrap.removal import plan_removal

    with console.working(sentence("looking")):
        steps, store, unread = await plan_removal(given.config, with_data=data)
    removed, left = [], []
    if unread is not None:
        left.append(f"{console.split_remedy(str(unread))[0]} {sentence('more_secrets')}")
        say(left[0])
    if steps:
        say("\n  - ".join([sentence("removes"), *(step.what for step in steps)]))
        require_yes(sentence("ask_removal"), "Nothing was removed.", yes=yes)
    for step in steps:
        try:
            with console.working(f"Removing {step.what}"):
                await step.remove()
        except (RelayError, OSError) as error:
            left.append(f"{step.what}. {error}")
            say(f"Not removed: {left[-1]}")
            if step.uses_the_rest:
                break
        else:
            removed.append(step.what)
            say(f"Removed {step.what}.")
    kept = None if store and not store.exists() else str(store or "PostgreSQL")
    if kept is not None:
        say(sentence("texts_kept", kept=kept))
    done = sentence("url_in_if3" if steps else "nothing_to_remove")
    show({"removed": removed, "left": left, "store": kept}, done)
    return Unavailable.exit_code if left else 0
