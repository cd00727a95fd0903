"""How a tunnel program runs on Windows, where the service is a program without a console."""

import subprocess
import sys
from pathlib import Path

import pytest

from callrail_relay.machine import leash

WINDOWLESS = Path(sys.executable).with_name("pythonw.exe")
LOOKS = """
import ctypes
from ctypes import wintypes

kernel, user = ctypes.windll.kernel32, ctypes.windll.user32
kernel.GetConsoleWindow.restype = wintypes.HWND
user.IsWindowVisible.argtypes = [wintypes.HWND]
print(kernel.GetConsoleCP() != 0, bool(user.IsWindowVisible(kernel.GetConsoleWindow())))
"""


@pytest.mark.slow
@pytest.mark.skipif(not WINDOWLESS.exists(), reason="only Windows has programs without a console")
def test_program_of_a_service_opens_no_window() -> None:
    """Windows would give it a console that people see, and closing that would end the tunnel."""
    command = [str(WINDOWLESS), "-I", str(leash.__file__), sys.executable, "-c", LOOKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert "True False" == process.stdout.readline().strip()
        process.stdin.close()
