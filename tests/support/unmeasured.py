import os


def unmeasured() -> dict[str, str]:
    """This environment for a program whose coverage isn't measured: it runs in half the time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
