"""``doctor``: every check that must hold, with the remedy."""

from callrail_relay.cli.console import command
from callrail_relay.cli.options import Config, Json


@command
async def doctor(config: Config = None, as_json: Json = False) -> int:
    """
    Check your setup, and show how to fix problems.

    It wants a relay to be running. Nothing is sent. The exit code is that of the first check that failed.

    \b
    Example:
      $ callrail-relay doctor
      $ callrail-relay doctor --json
    """
    from callrail_relay.bootstrap.diagnosis import diagnose
    from callrail_relay.cli.documents import print_json
    from callrail_relay.cli.render import print_health

    report = await diagnose(config)
    print_json(report.document()) if as_json else print_health(report)
    return report.exit_code
