"""``backup``, ``restore`` and ``uninstall``: moving the relay to another computer, and away."""

from pathlib import Path
from typing import Annotated

import typer

from callrail_relay.cli.console import Config, Json, Yes, confirmed, say, show
from callrail_relay.domain.message import instant
from callrail_relay.errors import Unavailable
from callrail_relay.sentences import plural

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup to write; there must be none yet.")]
BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup to bring back.")]
SecretsFile = Annotated[
    bool, typer.Option("--secrets-file", help="Keep secrets in a private file, not the keyring.")
]
WithApiKey = Annotated[bool, typer.Option("--with-api-key", help="Put CallRail's API key into it as well.")]
WithData = Annotated[bool, typer.Option("--data", help="Also remove the texts, opt-outs and history.")]


async def backup(
    file: NewFile, with_api_key: WithApiKey = False, config: Config = None, as_json: Json = False
) -> None:
    """
    Back up your texts, opt-outs and settings.

    It works while the relay runs. Anyone with the file can read your texts and
    post to your webhook: keep it private. Only you can read it (mode 0600).

    A backup is old the moment it's made, so make a new one right before you
    move. With PostgreSQL it holds settings and secrets only.

    Example:
    $ callrail-relay backup relay.backup
    """
    from callrail_relay.bootstrap.backups import make_backup
    from callrail_relay.bootstrap.context import load_context

    context = load_context(config)
    made = await make_backup(context, file, with_api_key=with_api_key)
    if not context.settings.database.url.startswith("sqlite"):
        say("It holds settings and secrets only, and no database password. `pg_dump` backs up the rest.")
    what = {"texts": made.has_store, "api_key": made.has_api_key}
    document = {"file": str(file), "made_at": instant(made.made_at), **what}
    show(document, f"The backup is {file}. Keep it private.", as_json=as_json)


async def restore(
    file: BackupFile, secrets_file: SecretsFile = False, config: Config = None, as_json: Json = False
) -> None:
    """
    Bring back a backup, here or elsewhere.

    Stop the old relay first. It wants an empty data directory and no settings.

    Texts that were not final in the backup may have been sent since. They are
    looked up at CallRail: what's found there is marked as sent. Everything else
    comes back on hold, and is sent only if you approve it.

    Example:
    $ callrail-relay restore relay.backup
    """
    from callrail_relay.bootstrap import backups
    from callrail_relay.cli.render import local

    restored = await backups.restore(config, file, use_file=secrets_file)
    context, made = restored.context, restored.backup
    say(f"Restored the backup of {local(made.made_at)}. Settings: {context.config_path}")
    for name, place in restored.places.items():
        say(f"{name.words.capitalize()}: {place}")
        if outside := context.secrets.shadowed_by(name):
            say(f"  The {outside} wins over it; unset that to use the stored one.")
    held = unchecked = 0
    if restored.open_texts:
        say(f"{plural(restored.open_texts, 'text')} may have been sent since. Checking with CallRail...")
        held, unchecked, fault = await backups.look_up(context)
        say(f"Sent since: {restored.open_texts - held}. On hold until you approve them: {held}.")
        if unchecked:
            say(f"Not looked up yet: {unchecked}. {fault or ''} A running `serve` continues.")
    if not made.has_api_key:
        say("The API key is not in the backup: give it again with `callrail-relay configure`.")
    say("Stop the old relay before you start this one, and before `callrail-relay expose`.")
    document = {
        "made_at": instant(made.made_at),
        "settings_file": str(context.config_path),
        "texts": {"not_final": restored.open_texts, "held": held, "not_looked_up": unchecked},
    }
    show(document, "Restored. The webhook URL in IF3 is still the same.", as_json=as_json)


async def uninstall(
    data: WithData = False, yes: Yes = False, config: Config = None, as_json: Json = False
) -> int:
    """
    Remove the service, settings and secrets.

    It lists what there is, and asks first. Your texts, opt-outs and history stay, unless
    you add --data. It ends with 8 if something couldn't be removed. Remove the
    program itself as you installed it, such as with `pipx uninstall
    callrail-relay`, and the webhook URL in IF3.

    Example:
    $ callrail-relay uninstall
    """
    from callrail_relay.bootstrap.removal import plan_removal, remove

    steps, store = await plan_removal(config, with_data=data)
    say("\n  - ".join(["This removes:", *(step.what for step in steps)]))
    if not confirmed("Remove all of this? Texts from IF3 are lost from then on.", yes=yes):
        say("Nothing was removed.")
        return 0
    removed, left = await remove(steps)
    for line in left:
        say(f"Not removed: {line}")
    kept = None if store and not store.exists() else str(store or "PostgreSQL")
    if kept is not None:
        say(f"Your texts, opt-outs and history are still in {kept}.")
    done = "Remove the webhook URL in IF3 as well: Team Dashboard > Settings > Messaging."
    show({"removed": removed, "left": left, "store": kept}, done, as_json=as_json)
    return Unavailable.exit_code if left else 0
