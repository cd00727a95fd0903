"""Replacing a file that another program has open, as Windows refuses it."""

from pathlib import Path

import pytest

from callrail_relay import replacing
from callrail_relay.replacing import replace


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr(replacing, "_TRIES", 3)
    monkeypatch.setattr(replacing, "STEP", 0.001)
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new", encoding="utf-8")
    old.write_text("old", encoding="utf-8")
    return new, old


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Refuse to replace a file so often, as while it is being read."""
    refusals = iter(range(times))
    really = Path.replace

    def maybe(self: Path, target: Path) -> Path:
        if next(refusals, None) is not None:
            raise PermissionError(13, "Access is denied", str(target))
        return really(self, target)

    monkeypatch.setattr(Path, "replace", maybe)


def test_file_in_use_is_replaced_when_it_is_free(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = files
    refuse(monkeypatch, 3)

    replace(new, old)

    assert "new" == old.read_text(encoding="utf-8")


def test_file_that_stays_in_use_is_a_fault(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = files
    refuse(monkeypatch, 100)

    with pytest.raises(PermissionError):
        replace(new, old)
    assert "old" == old.read_text(encoding="utf-8")
