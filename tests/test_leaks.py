"""That every test is watched for what must be in no log."""

from pathlib import Path

import pytest

from tests.support.leaks import leaks

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "words",
    [
        "to +12025550122.",
        "(202) 555-0122",
        "1-202-555-0122",
        "2025550122",
        "202 555 0199",
        "Token token=test-key-0123456789abcdef",
        "Hi Dana, are you still thinking of selling 12 Oak St?",
    ],
)
def test_what_should_not_be_told_is_found(words: str) -> None:
    assert 1 == len(leaks(f'{{"action": "x", "reason": "{words}"}}'))


@pytest.mark.parametrize(
    "words",
    ["+1••••••••22", "01995f5e-1234-7123-8123-120255501221", "ACC2025550122", "2026-03-02T15:00:00.555012Z"],
)
def test_what_may_be_told_is_not(words: str) -> None:
    assert [] == leaks(words)


@pytest.mark.parametrize("way", ["sys.stderr.write(WORDS)", "logging.getLogger('x').warning(WORDS)"])
def test_a_test_that_tells_it_fails(pytester: pytest.Pytester, way: str) -> None:
    """Though it would pass: whatever it wrote, and however."""
    pytester.makeconftest(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.conftest import pytest_runtest_makereport\n"
    )
    pytester.makepyfile(
        "import logging, sys\n"
        "WORDS = 'to +1202555' + '0122'\n"
        "def test_tells():\n"
        f"    {way}\n"
        "def test_is_quiet():\n"
        "    pass\n"
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*standard error tells*"])
