"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal

_SET_DEATH_SIGNAL = 1  # prctl


def end_with_parent() -> None:
    """Let this process be killed when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
