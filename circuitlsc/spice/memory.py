"""What compiled callbacks need of memory: addresses as pointers, and names looked up by a hash table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

FNV_OFFSET, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """Return an address as a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), codegen


def prime_and_offset() -> tuple[np.uint64, np.uint64]:
    """Return the constants of the hash (FNV-1a)."""
    return np.uint64(FNV_PRIME), np.uint64(FNV_OFFSET)


def _hash(name: bytes) -> int:
    value = FNV_OFFSET
    for byte in name:
        value = ((value ^ byte) * FNV_PRIME) & MASK
    return value


def name_table(names: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return a hash table of names in lower case: keys, and each name's index (-1 in an empty slot)."""
    size = 1 << max(4, int(2 * len(names)).bit_length() + 1)
    keys, columns = np.zeros(size, dtype=np.uint64), np.full(size, -1, dtype=np.int64)
    for column, name in enumerate(names):
        key = _hash(name.lower().encode())
        slot = key & (size - 1)
        while columns[slot] >= 0:
            if keys[slot] == key:
                raise ValueError(f"two names share the hash of {name!r}")
            slot = (slot + 1) & (size - 1)
        keys[slot], columns[slot] = key, column
    return keys, columns
