import pytest

from callrail_relay.web.public import MOST_ADDRESSES, MOST_FAILURES, WINDOW, FailedSecrets

START = 1000.0


def exhaust(failed: FailedSecrets, address: str) -> None:
    for _ in range(MOST_FAILURES):
        assert not failed.too_many(address, START)
    assert failed.too_many(address, START)


def test_minute_of_an_address_begins_with_its_first_failure() -> None:
    """Twenty within it, and after it twenty again."""
    failed = FailedSecrets()
    exhaust(failed, "203.0.113.7")

    assert failed.too_many("203.0.113.7", START + WINDOW.total_seconds() - 0.001)
    assert not failed.too_many("203.0.113.7", START + WINDOW.total_seconds())


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("2001:db8:0:0:1::", "2001:DB8::2"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::1%one", "2001:db8::1%another"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("somewhere", "elsewhere"),
        ("203.0.113.7, x", ""),
    ],
)
def test_addresses_that_one_party_can_choose_from_are_one(address: str, same: str) -> None:
    """A /64 of IPv6 belongs to one customer, and anyone may write anything where no address is."""
    failed = FailedSecrets()
    exhaust(failed, address)

    assert failed.too_many(same, START)


@pytest.mark.parametrize("other", ["203.0.113.8", "2001:db8:0:1::1", "::ffff:203.0.113.8", "::1"])
def test_other_addresses_do_not_pay(other: str) -> None:
    """Neighbours have their own twenty."""
    failed = FailedSecrets()
    for address in ("203.0.113.7", "2001:db8::1", "somewhere"):
        exhaust(failed, address)

    assert not failed.too_many(other, START)


def test_flood_of_addresses_is_forgotten() -> None:
    """The memory is bounded; who knocks again and again is kept, and the quiet ones go first."""
    failed = FailedSecrets()
    busy, quiet = "203.0.113.7", "203.0.113.8"
    exhaust(failed, busy)
    exhaust(failed, quiet)
    for number in range(MOST_ADDRESSES):
        failed.too_many(f"10.0.{number // 256}.{number % 256}", START)
        if number % 1000 == 0:
            assert failed.too_many(busy, START)

    assert failed.too_many(busy, START)
    assert not failed.too_many(quiet, START)
