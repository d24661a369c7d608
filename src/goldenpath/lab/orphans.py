"""What becomes of a child process when its parent is gone, however it went: no `finally` sees a kill -9."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def when_parent_is_gone(number: signal.Signals) -> None:
    """In the child: have the kernel send this signal to it then, also to one that is stopped. Only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
