"""Keeping what the wizard found out."""

from dataclasses import dataclass, field

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.config.loading import load
from callrail_relay.config.saving import Changes, overruled, save
from callrail_relay.config.secrets import OsKeyring, SecretName, Secrets
from callrail_relay.config.settings import Settings
from callrail_relay.errors import SecretError
from callrail_relay.service.tokens import HookToken, new_token


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """
    An API key that is there already, and in words where.

    One from *outside*, the environment or systemd, wins over a stored one and is never stored.
    """

    value: str = field(repr=False)
    place: str
    outside: bool


@dataclass(frozen=True, kw_only=True)
class SavedSetup:
    """
    The settings that count now, and in words where each secret is.

    *overruled* are keys that the environment sets otherwise. *outranks_key* wins over a key that was stored.
    """

    settings: Settings
    token: HookToken
    key_place: str
    token_place: str
    overruled: tuple[str, ...]
    outranks_key: str | None


async def known_api_key(context: AppContext, *, use_file: bool) -> KnownKey | None:
    """
    The API key, if there is one. Raises SecretError, also if no place could keep a secret.

    *use_file*, here and below, is a person's wish to keep secrets in the file from now on.
    """
    secrets = context.secrets
    found = await secrets.find_despite_keyring(SecretName.API_KEY, use_file=use_file)
    if not use_file:
        await _require_place(secrets)
    if found is None:
        return None
    outside = secrets.shadowed_by(SecretName.API_KEY) is not None
    return KnownKey(value=found.secret.reveal(), place=found.source, outside=outside)


async def _require_place(secrets: Secrets) -> None:
    names = (SecretName.API_KEY, SecretName.HOOK_TOKEN)
    if secrets.file_in_use or all(secrets.shadowed_by(name) for name in names):
        return
    if await OsKeyring(timeout=3.0).words() is None:
        raise SecretError(
            "There is no OS keyring here to keep the secrets in; nothing was written. Keep them in a file "
            "with `callrail-relay configure --secrets-file`, or give them by the environment variables "
            f"{' and '.join(name.variable or '' for name in names)}."
        )


async def save_setup(
    context: AppContext, changes: Changes, *, new_key: str | None, use_file: bool
) -> SavedSetup:
    """
    Write *changes* to the settings and store the secrets; if that fails, nothing changes.

    Without a *new_key* the known one stays. A webhook secret is made if there is none. *use_file* moves
    both to the file. Raises SettingsError, SecretError.
    """
    path, secrets = context.config_path, context.secrets
    key = None if new_key is not None else await secrets.require(SecretName.API_KEY)
    token = await secrets.find_despite_keyring(SecretName.HOOK_TOKEN, use_file=use_file)
    token_value = new_token() if token is None else token.secret.reveal()
    kept: dict[SecretName, str] = {}
    if token is None or (use_file and not secrets.shadowed_by(SecretName.HOOK_TOKEN)):
        kept[SecretName.HOOK_TOKEN] = token_value
    if new_key is not None:
        kept[SecretName.API_KEY] = new_key
    elif key is not None and use_file and not secrets.shadowed_by(SecretName.API_KEY):
        kept[SecretName.API_KEY] = key.secret.reveal()
    places = {
        **({} if key is None else {SecretName.API_KEY: key.source}),
        **({} if token is None else {SecretName.HOOK_TOKEN: token.source}),
        **await save(path, secrets, changes, kept, use_file=use_file or secrets.file_in_use),
    }
    return SavedSetup(
        settings=load(path),
        token=HookToken(value=token_value),
        key_place=places[SecretName.API_KEY],
        token_place=places[SecretName.HOOK_TOKEN],
        overruled=tuple(overruled(path, changes)),
        outranks_key=secrets.shadowed_by(SecretName.API_KEY) if SecretName.API_KEY in kept else None,
    )
