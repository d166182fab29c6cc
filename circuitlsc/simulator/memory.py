"""What compiled callbacks need of memory: where it is, addresses as pointers, and names looked up by a hash table.

Compiled code that closes over an address cannot be kept on disk. Here all addresses are in one table, and the table's own is
in a variable that the linker knows by its name: code from the disk finds the memory of the process that loads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

FNV_OFFSET, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
# places in the table: addresses of arrays, those of a broken loop last, then numbers
PATH, KEYS, COLUMNS, COUNTERS, TIMES, SOLVED, FLAGS, PLACES, NODE_KEYS, NODE_COLUMNS = range(10)
ROWS, WIDTH, SLOTS, NODE_SLOTS, NODES, SIZE = range(10, 16)
STEP, END = 0, 1  # times, seconds
_SYMBOL = "circuitlsc_memory"
_table_at = np.zeros(1, dtype=np.int64)  # lives as long as the process
llvm.add_symbol(_SYMBOL, _table_at.ctypes.data)


def use_table(table: NDArray[np.int64]) -> None:
    """Let compiled callbacks read this table of addresses and numbers; the caller keeps it alive."""
    _table_at[0] = table.ctypes.data


@intrinsic
def table_address(typingctx: Any) -> Any:
    """Return the address of the table in use."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.module.globals.get(_SYMBOL)
        return builder.load(ir.GlobalVariable(builder.module, ir.IntType(64), _SYMBOL) if found is None else found)

    return types.int64(), codegen


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """Return an address as a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), codegen


@njit
def key_of(name: Any) -> Any:
    """Return the hash (FNV-1a) of a C string; compiled into what calls it."""
    key = np.uint64(FNV_OFFSET)
    p = 0
    while name[p] != 0:
        key = (key ^ np.uint64(name[p])) * np.uint64(FNV_PRIME)
        p += 1
    return key


@njit
def column_of(key: Any, keys: Any, columns: Any) -> Any:
    """Return the index of the name with a hash in a table of `name_table`; -1 if it has none."""
    slots = len(keys) - 1
    slot = np.int64(key & np.uint64(slots))
    while columns[slot] >= 0 and keys[slot] != key:
        slot = (slot + 1) & slots
    return columns[slot]


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
