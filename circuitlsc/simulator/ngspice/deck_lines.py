"""Which lines of a foreign netlist are harmless: an allow-list of dot-cards, models and options, read as ngspice reads them.

ngspice runs commands from more places than ``.control``: comment lines that begin with ``*#``, all lines of a file whose
title is ``*ng_script`` (a ``.title`` further down may make it so), and whatever its loose reading makes of a line: it drops
carriage returns, takes every card that begins with ``.inc`` for an include, cuts a first line of 5,000 characters in two, and
puts a ``*`` in place of a first character that it finds unusual (``;#`` is then ``*#``). So every line is judged, the title
and what comes after ``.end`` too, and what is not known is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from circuitlsc.errors import printable
from circuitlsc.simulator.ngspice.netlist_allow_list import CARDS, COMMANDS, DEVICES, MODELS, MOS_LEVELS, OPTIONS

FIRST_LINE = 4000  # ngspice cuts the first line at 5000 bytes, and takes the rest for a line of its own
INCLUDES = frozenset({".include", ".inc", ".lib"})
MOST_COMPLAINTS = 1000  # of one file: it is refused, and more say nothing new

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(r"\b(\w++)\s*+=")
_OPTION = re.compile(r"([^\s=]+)(?:\s*=\s*([^\s=]+))?")
_INCLUDE = re.compile(r"\.\w+\s+(?:\"([^\"]+)\"|'([^']+)'|([^\s\"']+))(\s+\w+)?", re.IGNORECASE)
_PATH = re.compile(r"[A-Za-z0-9_./+ -]+")
_LEVEL = re.compile(r"level[\s=,()+]*([^\s,)]*)")  # wherever it stands: ngspice takes xlevel for it too
_UNUSUAL = frozenset('=[]?()&%$"!:,;')  # as the first character of a line, ngspice replaces them by *
_COMMENT = re.compile(r"(?<=.);|//")  # what ends a line, wherever it stands
_DOLLAR = re.compile(r"(?<=[ \t,])\$")  # ends one too, unless ngspice takes after PSpice


@dataclass(frozen=True)
class Finding:
    """Something in a deck that may run commands, or read or write outside its folder.

    Attributes
    ----------
    number : int
        Of the line, from 1; 0 if the whole file is meant.
    text : str
        The line.
    reason : str
    file : str
        Relative to the deck's folder.
    """

    number: int
    text: str
    reason: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.number}" if self.number else self.file
        return f"{printable(where)}: {printable(self.reason)}" + (
            f": {printable(self.text[:200])}" if self.text else ""
        )


@dataclass(frozen=True)
class Include:
    """A file that a line reads.

    Attributes
    ----------
    number : int
    text : str
        The line.
    name : str
        The file's, as the line gives it.
    card : str
        ``.include``, ``.inc`` or ``.lib``.
    section : bool
        Whether the line is a ``.lib NAME``, the begin of a section; some modes of ngspice take the name for a file.
    wanted : str
        The section that a ``.lib`` reads, in lower case.
    """

    number: int
    text: str
    name: str
    card: str
    section: bool = False
    wanted: str = ""


def check_lines(data: bytes, *, titled: bool) -> tuple[list[Finding], list[Include]]:
    """Judge every line of a deck, or of a file that a deck includes.

    Parameters
    ----------
    data : bytes
        The file's contents.
    titled : bool
        Whether its first line is a title (an included file has none).

    Returns
    -------
    list of Finding, list of Include
        What is refused, the first thousand; what must be read and judged too.
    """
    complaints, includes = list[Finding](), list[Include]()
    for item in _judged(data, titled):
        if isinstance(item, Include):
            includes.append(item)
        else:
            complaints.append(item)
        if len(complaints) >= MOST_COMPLAINTS:
            break
    return sorted(complaints, key=lambda c: c.number), includes


def _judged(data: bytes, titled: bool) -> Iterator[Finding | Include]:
    """Yield what is refused and what is included, as the lines go by."""
    card: tuple[int, list[str]] | None = None  # the one that a + line would continue
    for number, raw in enumerate(BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        bare = raw.decode("utf-8", "backslashreplace").strip(" \t")
        title = titled and number == 1
        if why := _bytes(raw, title) or _commands(bare):
            yield Finding(number, bare, why)
            continue
        if bare.startswith(";") and card is not None:
            yield from _card(*card)
            card = None  # ngspice makes the ; a comment only after it has joined lines, and would join a + line to it
        if not bare or bare.startswith(("*", ";", "$", "//")) or (title and not bare.startswith(".")):
            continue
        if bare.startswith("+"):
            if card is None:
                yield Finding(number, bare, "continues no card of this file, so that it could continue any")
            else:
                card[1].append(bare)
            continue
        if card is not None:
            yield from _card(*card)
        word = bare.split(maxsplit=1)[0].lower()
        card = None if word in INCLUDES or word == ".endl" else (number, [bare])
        if word in INCLUDES:
            yield _include(number, bare, word)
    if card is not None:
        yield from _card(*card)


def _bytes(raw: bytes, title: bool) -> str | None:
    """Return what is wrong with the bytes of a line."""
    if title and len(raw) > FIRST_LINE:
        return f"the first line has {len(raw)} bytes, and ngspice cuts it in two at 5000"
    if found := _CONTROL.search(raw):
        return f"has the control character {found[0][0]:#04x}, which ngspice may drop, or take for the end of the line"
    if not title and not raw.lstrip(b" \t").startswith(b"*") and not raw.isascii():
        return "has characters that are not ASCII outside a comment, which ngspice may take for blanks"
    return None


def _commands(bare: str) -> str | None:
    """Return why ngspice would run commands because of a line, wherever it stands."""
    low = bare.lower()
    star = "*" + low[1:] if low[:1] in _UNUSUAL else low
    if star.startswith("*ng_script"):
        return f"{low[0]}ng_script makes every line of the file a command of ngspice"
    if star.startswith("*#"):
        return f"{low[0]}# is no comment: ngspice runs what follows as a command"
    if low.startswith((".control", ".endc")):
        return "ngspice runs the commands between .control and .endc"
    if low.startswith(".title"):  # ngspice takes the title before it cuts comments off
        first = " ".join(low.split()[1:])[:1]
        if first in {"*", *_UNUSUAL}:
            return f"a title that begins with {first} may make the file a script"
    return None


def _card(number: int, parts: list[str]) -> Iterator[Finding]:
    """Judge a card with its continuation lines, which ngspice joins with blanks after it has cut off comments."""
    parts = [_COMMENT.split(part, maxsplit=1)[0] for part in parts]
    for lines in (parts, [_DOLLAR.split(part, maxsplit=1)[0] for part in parts]):
        if why := _refused(" ".join(line.removeprefix("+") for line in lines)):
            yield Finding(number, parts[0], why)
            return


def _refused(text: str) -> str | None:
    """Return why a card is refused, or None."""
    words = text.split()
    word = words[0].lower()
    if word.startswith("."):
        if word not in CARDS:
            return f"{word} is not on the list of cards that are known to be harmless"
        return {".model": _model, ".option": _options, ".options": _options}.get(word, _plain)(text)
    if word[0] not in DEVICES:
        kind = {"n": "a device of compiled Verilog-A", "u": "a device of PSpice's library"}.get(word[0], "no device")
        return f"begins {kind}, which is not on the list of what is known to be harmless"
    if word in COMMANDS:
        return f"{word} is a command of ngspice"
    return _plain(text)


def _plain(text: str) -> str | None:
    """Return why a device or a card with numbers is refused."""
    if "`" in text:
        return "has a backquote, in which ngspice runs a program"
    if '"' in text:
        return 'has a "text", and a device or model takes one only for the name of a file or a program'
    if named := next((name for name in _NAME.findall(text) if "file" in name.lower()), None):
        return f"{named} = names a file"
    return None


def _model(text: str) -> str | None:
    words = re.sub(r"[(),]", " ", text.lower()).split()
    if len(words) < 3:
        return ".model has no type on its line or on those that continue it"
    if words[2] not in MODELS:
        return f"the model type {words[2]} is not on the list of those that neither open files nor run programs"
    levels = set(_LEVEL.findall(text.lower())) if words[2] in ("nmos", "pmos") else set()
    if wrong := sorted(levels - MOS_LEVELS):
        return f"a MOS model of level {wrong[0] or '?'} may write a log into the working folder"
    return _plain(text)


def _options(text: str) -> str | None:
    for name, _ in _OPTION.findall(text.split(maxsplit=1)[1] if len(text.split()) > 1 else ""):
        if name.lower() not in OPTIONS:
            return f"the option {name} is not on the list of those that are known to be harmless"
    return _plain(text)


def _include(number: int, bare: str, word: str) -> Include | Finding:
    """Return the file that an include reads."""
    found = _INCLUDE.fullmatch(bare.rstrip())
    name = found and (found[1] or found[2] or found[3])
    if not found or not name or (found[4] and word != ".lib"):
        return Finding(number, bare, f"{word} is not followed by the name of one file")
    if not _PATH.fullmatch(name) or name.startswith("/"):
        what = "does not name a file in the deck's folder by a relative path of letters, digits and _./+-"
        return Finding(number, bare, f"{word} {what}")
    section = word == ".lib" and found[4] is None and re.fullmatch(r"\w+", name, re.ASCII) is not None
    return Include(number, bare, name, word, section, (found[4] or "").strip().lower())
