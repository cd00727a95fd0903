"""
The signature CallRail puts on its webhooks.

Header ``Signature``: the HMAC-SHA1 of the raw body under the company's signing
key, in base64. Source: https://apidocs.callrail.com/#validating-payloads
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable


def sign(key: str, body: bytes) -> str:
    """The signature of *body*, as it stands in the header."""
    # SHA-1 is CallRail's choice; as an HMAC it is not open to SHA-1's collisions.
    digest = hmac.new(key.encode(), body, hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def verify(keys: Iterable[str], body: bytes, header: str | None) -> bool:
    """
    Whether *header* is the signature of the raw *body* under one of *keys*, compared in constant time.

    An empty key signs nothing: it is what an unset variable looks like.
    """
    given = (header or "").encode()
    # A list first, so that every key is compared and the time does not tell which one matched.
    matches = [hmac.compare_digest(sign(key, body).encode(), given) for key in keys if key]
    return any(matches)
