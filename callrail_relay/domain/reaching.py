"""What the public URL answered, and what that proves."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

_PROOF = re.compile(rb"[0-9a-f]{64}")


class Trouble(StrEnum):
    """Why there was no answer."""

    NO_NAME = "no_name"
    REFUSED = "refused"
    TIME_OUT = "time_out"
    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"
    UNTRUSTED = "untrusted"
    TLS = "tls"
    PROXY = "proxy"
    BROKEN = "broken"


class NoAnswer(Exception):
    """Raised when an address gives no answer at all. ``addresses`` are as in an Answer."""

    def __init__(self, trouble: Trouble, detail: str = "", addresses: tuple[str, ...] = ()) -> None:
        super().__init__(trouble, detail)
        self.trouble = trouble
        self.detail = detail
        self.addresses = addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer over HTTP; ``addresses`` are those of the name, none where a proxy looked it up."""

    status: int
    body: bytes = b""
    location: str = ""
    addresses: tuple[str, ...] = ()


def proof(secret: str, nonce: str) -> str:
    """Return what only a relay with this *secret* can answer to *nonce*."""
    return hmac.new(secret.encode(), f"callrail-relay probe {nonce}".encode(), hashlib.sha256).hexdigest()


def is_proven(answer: Answer, secret: str, nonce: str) -> bool:
    return hmac.compare_digest(answer.body.strip(), proof(secret, nonce).encode())


def wrong_answer(answer: Answer, url: str, target: str) -> str:
    """Return who answers at *url* instead of the relay, which listens at *target*, and what to do."""
    through = f"Let your proxy or tunnel pass /hooks/ and /healthz on to {target}."
    status = answer.status
    if 300 <= status < 400:
        parts = urlsplit(answer.location)
        to = f" to {parts.scheme}://{parts.hostname}" if parts.hostname else ""
        return f"{url} redirects{to} ({status}), and a redirected POST is lost. Use the URL that it leads to."
    if status in (401, 403):
        return f"{url} wants a login or refuses visitors ({status}), so IF3 can't post. Open /hooks/ there."
    if status in (502, 503, 504, 530):
        return f"A proxy or tunnel answers at {url}, but it doesn't reach the relay ({status}). {through}"
    if status == 200 and (not answer.body.strip() or _PROOF.fullmatch(answer.body.strip())):
        return (
            f"Another relay answers at {url}, perhaps on an old computer or with another database. Stop that "
            f"one. {through}"
        )
    return f"Another server answers at {url} ({status}), not this relay. {through}"


def no_answer(error: NoAnswer, url: str) -> str:
    """Return why *url* doesn't answer, and what to do."""
    host = urlsplit(url).hostname
    detail = f" ({_one_line(error.detail)})" if error.detail else ""
    return {
        Trouble.NO_NAME: f"DNS doesn't know {host}. Check the spelling, or add the name to your DNS.",
        Trouble.REFUSED: f"{host} refuses connections. Start your proxy or tunnel.",
        Trouble.TIME_OUT: (
            f"{host} doesn't answer. Check your tunnel or proxy and the firewall. Some routers can't reach "
            f"their own public address from inside: try {url}/healthz on a phone that isn't in your network."
        ),
        Trouble.EXPIRED: f"The certificate of {host} has expired, so IF3 can't post. Renew it.",
        Trouble.WRONG_NAME: (
            f"The certificate of {host} is for another name, so IF3 can't post. Get one for {host}."
        ),
        Trouble.UNTRUSTED: (
            f"The certificate of {host} isn't trusted{detail}, so IF3 can't post. Use one of a public "
            "authority, with its whole chain."
        ),
        Trouble.TLS: f"{host} doesn't speak https as it should{detail}. Check the https setup of your proxy.",
        Trouble.PROXY: f"The proxy of this computer's environment can't be used{detail}. Check HTTPS_PROXY.",
        Trouble.BROKEN: f"The connection to {host} broke{detail}. Check your tunnel or proxy.",
    }[error.trouble]


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:120]
