"""
One page of a list, and the body CallRail puts around it.

``page`` counts from 1 and ``per_page`` is 100, at most 250; a page after the last one is empty.
Source: https://apidocs.callrail.com/#offset-pagination
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from callrail_relay.callrail.simulator.records import Refusal

Record = TypeVar("Record")

DEFAULT_PER_PAGE = 100
MAX_PER_PAGE = 250


def page_of(
    records: Sequence[Record],
    params: Mapping[str, str],
    shape: Callable[[Record], dict[str, Any]],
    *,
    max_per_page: int = MAX_PER_PAGE,
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The four figures of paging, and the records of the page that was asked for."""
    page = _number(params, "page", 1)
    per_page = _number(params, "per_page", min(DEFAULT_PER_PAGE, max_per_page))
    if per_page > max_per_page:
        raise Refusal(400, f"per_page must be less than or equal to {max_per_page}")
    first = (page - 1) * per_page
    figures = {
        "page": page,
        "per_page": per_page,
        "total_pages": max(1, -(-len(records) // per_page)),
        "total_records": len(records),
    }
    return figures, [shape(record) for record in records[first : first + per_page]]


def without_total_pages(figures: dict[str, int]) -> dict[str, int]:
    """The figures of those lists that do not say how many pages there are: trackers and users (2026-02)."""
    return {name: figure for name, figure in figures.items() if name != "total_pages"}


def ordered(
    records: Sequence[Record], params: Mapping[str, str], sorts: Mapping[str, Callable[[Record], Any]]
) -> list[Record]:
    """The records by ``sort`` and ``order``; as they are where nothing is asked."""
    descending = {"asc": False, "desc": True}.get(params.get("order", "asc"))
    if descending is None:
        raise Refusal(400, "order is not included in the list")
    if "sort" not in params:
        return list(records)
    if params["sort"] not in sorts:
        raise Refusal(400, "sort is not included in the list")
    return sorted(records, key=sorts[params["sort"]], reverse=descending)


def asked_fields(params: Mapping[str, str]) -> set[str]:
    """The extra fields that ``fields=a,b`` asks for; they come on top of the usual ones."""
    return {name.strip() for name in params.get("fields", "").split(",")}


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0):
        raise Refusal(400, f"{name} must be a number greater than 0")
    return int(text)
