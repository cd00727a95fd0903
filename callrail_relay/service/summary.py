"""
One sentence that says whether all is well, and what to do where it is not.
"""

from callrail_relay.service.operations import StatusReport

_NOTHING_YET = "Nothing is set up yet: run `callrail-relay configure`."


def summary(report: StatusReport) -> str:
    """
    What matters most about *report*: what keeps texts from leaving comes before what waits for a person.
    """
    if report.store_fault is not None:
        return f"New texts are refused. {report.store_fault}"
    return _of_accounts(report) if report.standings else _NOTHING_YET


def _of_accounts(report: StatusReport) -> str:
    paused = [one for one in report.standings if one.account.paused_since is not None]
    if paused:
        return f"Paused: nothing leaves from {_accounts(len(paused))} until `callrail-relay resume`."
    waits = [one for one in report.standings if one.account.wait_until is not None]
    if waits:
        return f"Nothing leaves from {_accounts(len(waits))} for the moment; it goes on by itself."
    asked = for_a_person(report)
    if asked:
        return f"{asked} for your word."
    full = [one for one in report.standings if one.hour.free_at is not None or one.day.free_at is not None]
    if full and any(one.pending for one in full):
        return "All is well; the texts that wait leave as soon as the budget allows."
    return "All is well."


def for_a_person(report: StatusReport) -> str | None:
    """
    What waits for a person, as the beginning of a sentence; None where nothing does.
    """
    counts = report.for_a_person
    if not counts:
        return None
    words = " and ".join(f"{count} {status}" for status, count in counts.items())
    return f"{words} {'text waits' if sum(counts.values()) == 1 else 'texts wait'}"


def _accounts(count: int) -> str:
    return "one account" if count == 1 else f"{count} accounts"
