"""Having CallRail tell us of texts: the URLs, and what it has of a company's webhooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HookUrls:
    """Where CallRail posts; whatever else begins with *base* was ours, and opens nothing any more."""

    base: str
    received: str
    sent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookIntegration:
    """What CallRail has of a company's webhooks; *config* is its own, and not looked into here."""

    id: str
    config: Mapping[str, Any]
    signing_key: str | None
    active: bool


class Change(StrEnum):
    """What registering our URLs came to."""

    CREATED = "created"
    """The company had no webhooks before."""

    ADDED = "added"
    """Our URLs stand beside those that were there."""

    UNCHANGED = "unchanged"
    """They were there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What was done for one company. Not *active* are webhooks that CallRail, or somebody, switched off."""

    company_id: str
    change: Change
    signing_key: str | None
    active: bool
