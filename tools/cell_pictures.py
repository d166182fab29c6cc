"""Draw a subcircuit as its netlist says it: every part with its name and value, every pin, every table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter

import numpy as np
from matplotlib.figure import Figure

from circuitlsc.drawing.sheet import CURVE_BOX, Point, Sheet, drawn, engineering
from circuitlsc.model.piecewise_linear import Table

UNITS = {"R": "Ω", "C": "F", "I": "A", "V": "V", "G": "S"}
SYMBOLS = {
    "R": "Resistor",
    "C": "Capacitor",
    "I": "SourceI",
    "V": "SourceV",
    "G": "SourceControlledI",
    "E": "SourceControlledV",
}
GREEK = ("mu", "kappa", "sigma")
STEP, DEEP, WIDE = 3.6, 2.4, 46  # from one part to the next; of a part down to ground; characters of a formula's line


@dataclass(frozen=True)
class Element:
    """A line of a subcircuit: its name, its nodes, and its value as it stands there."""

    name: str
    nodes: tuple[str, ...]
    value: str

    @property
    def kind(self) -> str:
        """The letter that says what it is."""
        return self.name[0]

    @property
    def ends(self) -> tuple[str, str]:
        """The two nodes that it leads current between."""
        return self.nodes[0], self.nodes[1]

    @property
    def controls(self) -> set[str]:
        """The nodes whose voltages it senses."""
        sensed = re.findall(r"V\((\w+)\)", self.value) if self.kind == "B" else self.nodes[2:]
        return {*sensed} - {"0"}

    @property
    def symbol(self) -> str:
        """What it is drawn as."""
        if self.kind == "B":
            return "SourceControlledV" if self.value.startswith("v=") else "SourceControlledI"
        return SYMBOLS[self.kind]

    @property
    def label(self) -> str:
        """Its name, and its value if no formula below the picture says it."""
        if self.kind == "B":
            return self.name
        if "trrandom" in self.value:
            return f"{self.name}\nnoise"
        value = self.value.split(" ic=")[0]
        if value == "external":
            return f"{self.name}\nfrom outside"
        shown = formula(value) if "{" in value or self.kind == "E" else engineering(float(value), UNITS[self.kind])
        if self.kind in "GE":
            shown += " S" if self.kind == "G" and "{" in value else ""
            plus, minus = self.nodes[2:]
            shown += r" $\cdot$ " + formula(f"V({plus})" if minus == "0" else f"(V({plus})-V({minus}))")
        return f"{self.name}\n{shown}"

    @property
    def said(self) -> str:
        """The formula that stands below the picture, if there is one."""
        if self.kind == "B":
            return self.value
        if "trrandom" not in self.value:
            return ""
        return "i=" + self.value.split(None, 3)[3].rpartition(" ")[0].strip("{}")


def elements(text: str) -> tuple[list[str], list[Element]]:
    """Return the pins and the parts of a subcircuit."""
    lines = text.replace("\n+", " ").splitlines()
    pins = [word for word in lines[0].split()[2:] if "=" not in word]
    found = []
    for line in lines[1:-1]:
        if line.startswith("*"):
            continue
        name, rest = line.split(None, 1)
        count = {"G": 4, "E": 4, "X": 3}.get(name[0], 2)
        *nodes, value = rest.split(None, count)
        found.append(Element(name, tuple(nodes), value))
    return pins, found


def tables(value: str) -> tuple[str, list[Table]]:
    """Return an expression with f1(...), f2(...) in the place of its tables, and these."""
    found: list[tuple[tuple[float, ...], int]] = []
    while (start := value.rfind("pwl(")) >= 0:  # the last one has none within it
        depth, cuts, end = 0, [start + 3], start + 3
        while True:
            depth += {"(": 1, ")": -1}.get(value[end], 0)
            if depth == 0:
                break
            if depth == 1 and value[end] == ",":
                cuts.append(end)
            end += 1
        numbers = tuple(float(word) for word in value[cuts[1] + 1 : end].split(","))
        known = [which for which, _ in found]
        if numbers not in known:
            found.append((numbers, len(found)))
            known.append(numbers)
        value = f"{value[:start]}@{known.index(numbers)}({value[cuts[0] + 1 : cuts[1]]}){value[end + 1 :]}"
    order = list(dict.fromkeys(int(k) for k in re.findall(r"@(\d+)\(", value)))
    value = re.sub(r"@(\d+)\(", lambda match: f"f{order.index(int(match[1])) + 1}(", value)
    return value, [Table(np.array(found[k][0][::2]), np.array(found[k][0][1::2])) for k in order]


def formula(text: str) -> str:
    """Return an expression of a netlist as mathematics."""
    text = re.sub(r"^([a-z]\w*)\*([\d.e+-]+)$", r"\2*\1", text.strip("{}"))  # a number in front of a parameter
    return f"${''.join(_symbols(text))}$"


def _symbols(text: str) -> Iterator[str]:
    for match in re.finditer(
        r"V\((?P<node>\w+)\)|(?P<number>(?<![\w.])\d+(\.\d+)?(e[-+]?\d+)?)|(?P<table>f\d+)(?=\()|(?P<word>[A-Za-z]\w*)|(?P<rest>\*\*|.)",
        text,
    ):
        if match["node"]:
            yield f"V_{{{_name(match['node'])}}}"
        elif match["number"]:
            yield _number(float(match["number"]))
        elif match["table"]:
            yield f"f_{{{match['table'][1:]}}}"
        elif match["word"]:
            yield _name(match["word"])
        else:
            yield {"*": r"\,", "**": "^", "{": "", "}": "", ",": r",\,"}.get(match["rest"], match["rest"])


def _name(word: str) -> str:
    """Return a node's or a parameter's name."""
    first, _, index = word.partition("_")
    first = {"lam": r"\lambda", "logpi": r"\log\pi^{-1}"}.get(first, rf"\{first}" if first in GREEK else first)
    first = first if len(first) == 1 or "\\" in first else rf"\mathrm{{{first}}}"
    return first + (rf"_{{\mathrm{{{index.replace('_', ',')}}}}}" if index else "")


def _number(value: float) -> str:
    """Return three digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{float(f'{value:.3g}'):g}"
    digits, power = f"{value:.2e}".split("e")
    return rf"{float(digits):g}\cdot 10^{{{int(power)}}}"


def cell_figure(text: str) -> Figure:
    """Return the picture of a subcircuit."""
    return drawn("cell_figure()", partial(_draw, *elements(text)))


def _draw(pins: list[str], parts: list[Element], sheet: Sheet) -> None:
    if any(part.kind == "X" for part in parts):
        _draw_amplifier(sheet, parts)
    elif all(part.kind in "GR" and {*part.nodes} <= {"0", *pins} and part.ends[1] != "0" for part in parts):
        _draw_row(sheet, pins, parts)
    else:
        _draw_rails(sheet, pins, parts)


# an op-amp with resistors ---------------------------------------------------------------------------------------------


def _draw_amplifier(sheet: Sheet, parts: list[Element]) -> None:
    """Draw a buffer, or an inverting amplifier with or without a resistor at its input."""
    (amp,) = (part for part in parts if part.kind == "X")
    resistors = {part.name: part for part in parts if part is not amp}
    plus, minus, out = amp.nodes
    offset = f"{amp.name}: lsc_op_amp\noffset {formula(amp.value.rpartition('=')[2])}"
    if minus == out:
        sheet.dot((0, 0), terminal=True)
        end = sheet.follower((0.1, 0))
        _pin(sheet, (-0.3, 0), plus, "right")
    else:
        at = (2.2 if "Rin" in resistors else 0.9, 0.0)
        sheet.dot((0, 0), terminal=True)
        if "Rin" in resistors:
            sheet.part("Resistor", (0.1, 0), (2.2, 0))
            sheet.text((1.15, 0.35), resistors["Rin"].label, "center", "bottom")
        else:
            sheet.line((0.1, 0), at)
        _pin(sheet, (-0.3, 0), resistors["Rin"].ends[0] if "Rin" in resistors else minus, "right")
        end = sheet.amplifier(at, resistors["Rf"].label.replace("\n", " = "))
    sheet.line(end, (end[0] + 0.8, end[1]))
    sheet.dot((end[0] + 0.9, end[1]), terminal=True)
    _pin(sheet, (end[0] + 1.2, end[1]), out, "left")
    sheet.text((end[0] - 0.2, end[1] - (1.7 if minus == out else 1.0)), offset, "center", "top")


# conductances from pins to the first row of a crossbar ----------------------------------------------------------------


def _draw_row(sheet: Sheet, pins: list[str], parts: list[Element]) -> None:
    """Draw the parts that feed the first output; those of the others are the same with other numbers."""
    out = next(pin for pin in pins if pin in parts[0].ends)
    row = [part for part in parts if out in part.ends]
    pitch = 2.4 if row[0].kind == "G" else 1.9
    bus = 5.2 if len(row) > 1 else 2.9
    for k, part in enumerate(row):
        y = -pitch * k
        source = part.nodes[2] if part.kind == "G" else next(end for end in part.ends if end != out)
        sheet.dot((0, y), terminal=True)
        _pin(sheet, (-0.3, y), source, "right")
        name, _, value = part.label.partition("\n")
        if part.kind == "G":
            sheet.line((0.1, y), (1.4, y))
            end = sheet.transconductor((1.4, y))
            sheet.line(end, (bus, y))
            value = value.partition(r" $\cdot$")[0]
        else:
            sheet.part("Resistor", (0.1, y), (bus, y))
        at = (2.1, y + 0.85) if part.kind == "G" else (bus / 2, y + 0.35)
        sheet.text(at, f"{name} = {value}", "center", "bottom")
        if 0 < k < len(row) - 1:
            sheet.dot((bus, y))
    sheet.line((bus, 0), (bus, -pitch * (len(row) - 1)))
    sheet.line((bus, 0), (bus + 1.2, 0))
    if len(row) > 1:
        sheet.dot((bus, 0))
    sheet.dot((bus + 1.3, 0), terminal=True)
    _pin(sheet, (bus + 1.6, 0), out, "left")
    if len(row) < len(parts):
        outputs = len({pin.rpartition("_")[0] == "out" and pin for pin in pins} - {False})
        low = -pitch * (len(row) - 1) - 1.3
        sheet.text((0, low), f"Row 1 of {outputs}; the others differ in values.", "left", "top")


# everything else: nodes as rails, with what hangs on them -------------------------------------------------------------


def _draw_rails(sheet: Sheet, pins: list[str], parts: list[Element]) -> None:
    """Draw each node that carries current as a rail from which its parts hang, and below them formulas and tables."""
    carrying = [node for node in dict.fromkeys(node for part in parts for node in part.ends) if node != "0"]
    number = {node: sum(node in part.ends for part in parts) for node in carrying}
    loose = {
        node: other
        for part in parts
        for node, other in (part.ends, part.ends[::-1])
        if node in pins and number[node] == 1 and other != "0" and number[other] > 1 and other in pins
    }
    rails = _sorted([node for node in carrying if node not in loose], pins, parts)
    sensed = [pin for pin in pins if pin not in carrying and any(pin in part.controls for part in parts)]
    steered = [part for part in parts if part.controls & {*sensed}]
    single = len(steered) == 1 and steered[0].kind == "B" and rails[0] in steered[0].ends
    x = _draw_sensed(sheet, sensed, steered[0] if single else None) if sensed else 0.0
    right: dict[str, float] = {}
    for node in rails:
        hung = [part for part in parts if node in part.ends and ({*part.ends} - {node} <= {"0", *loose})]
        hung.sort(key=lambda part: part not in steered)
        series = [part for part in parts if node in part.ends and part not in hung]
        first = x
        for part in hung:
            _hang(sheet, part, node, (x, 0.0), next((pin for pin in part.ends if pin in loose), None))
            step = max(STEP, 1.9 + 0.27 * _length(part.label))
            x += step
        follows = any(node in part.ends and part not in hung for part in parts)
        end = x - step + (1.3 if node in pins or follows else 0.0) if hung else x
        sheet.line((first, 0), (end, 0))
        before = [part for part in series if {*part.ends} - {node} <= {*right}]
        for k, part in enumerate(before):
            (other,) = {*part.ends} - {node}
            y = 0.9 + 1.3 * k
            start, stop = right[other], first
            if stop - start < 4 and not k:
                sheet.part(part.symbol, (start, 0), (stop, 0))
                sheet.text(((start + stop) / 2, 0.4), part.label, "center", "bottom")
            else:
                sheet.line((start, 0), (start, y))
                sheet.line((stop, 0), (stop, y))
                sheet.part(part.symbol, (start, y), (stop, y))
                sheet.text(((start + stop) / 2, y + 0.4), part.label.replace("\n", " "), "center", "bottom")
        if node in pins:
            sheet.dot((end + 0.1, 0), terminal=True)
            _pin(sheet, (end + 0.4, 0), node, "left")
        else:
            sheet.text((first + 0.1, 0.25), formula(node), "left", "bottom")
        right[node] = end
        x = max(end + 2.6, x)
    low = -DEEP - 0.9 if not loose else -DEEP - 1.2
    _draw_formulas(sheet, parts, min(low, -0.6 - 0.9 * len(sensed)) - 0.3)


def _draw_sensed(sheet: Sheet, pins: list[str], steered: Element | None) -> float:
    """Draw the pins that are sensed alone, and the block that steers a source; return where the first rail begins."""
    for k, pin in enumerate(pins):
        y = -0.6 - 0.9 * k
        sheet.dot((0, y), terminal=True)
        _pin(sheet, (-0.3, y), pin, "right")
        sheet.line((0.1, y), (1.2, y))
    if steered is None:
        return 3.0
    middle = -0.6 - 0.9 * (len(pins) - 1) / 2
    sheet.box((2.0, middle), 1.6, max(0.9 * len(pins), 1.3), f"${steered.value[0]}$ of\n{steered.name}")
    sheet.line((2.8, middle), (3.6, middle), *(((3.6, -1.2),) if middle != -1.2 else ()), (4.25, -1.2), arrow="->")
    return 4.8


def _length(label: str) -> int:
    """Return how many letters the longest line of a label has."""
    return max(len(re.sub(r"\\mathrm|\\cdot|[${}_^\\]", "", line)) for line in label.split("\n"))


def _hang(sheet: Sheet, part: Element, node: str, top: Point, pin: str | None) -> None:
    """Draw a part from a rail down to ground, or to a pin."""
    (x, y), low = top, (top[0], top[1] - DEEP)
    sheet.dot(top)
    ends = (top, low) if part.ends[0] == node else (low, top)  # the current of a source flows from its first node
    if part.symbol in ("SourceV", "SourceControlledV"):
        ends = ends[::-1]
    sheet.part(part.symbol, *ends)
    sheet.text((x + 0.75, y - DEEP / 2), part.label)
    if pin is None:
        sheet.ground(low)
    else:
        sheet.dot((x, y - DEEP - 0.1), terminal=True)
        _pin(sheet, (x, y - DEEP - 0.35), pin, "center", "top")


def _sorted(rails: list[str], pins: list[str], parts: list[Element]) -> list[str]:
    """Return rails with those first that steer others, or that lead to a pin."""
    needs: dict[str, set[str]] = {node: set() for node in rails}
    for part in parts:
        inside = [node for node in part.ends if node in needs]
        for node in inside:
            needs[node] |= {other for other in part.controls if other in needs and other != node}
            needs[node] |= {other for other in inside if node in pins and other not in pins}
    with suppress(CycleError):
        return [*TopologicalSorter(needs).static_order()]
    return rails


def _draw_formulas(sheet: Sheet, parts: list[Element], y: float) -> None:
    """Write what controlled sources do, and draw their tables."""
    for part in parts:
        if not part.said:
            continue
        said, curves = tables(part.said)
        kind, _, said = said.partition("=")
        lines = _folded(said)
        head = f"{part.name}: ${kind}$ = "
        if part.kind != "B":
            head = f"{part.name}: Gaussian, held for $t_\\mathrm{{hold}}$, rms "
        sheet.text(
            (-0.5, y),
            "\n".join([head + formula(lines[0]), *(f"      {formula(line)}" for line in lines[1:])]),
            "left",
            "top",
        )
        y -= 0.52 * len(lines) + 0.5
        for k, table in enumerate(curves):
            x = -0.5 + 3.6 * (k % 4)
            centre = (x + CURVE_BOX[0] / 2, y - CURVE_BOX[1] / 2 - 0.6)
            reach = float(np.abs(table.knots).max())
            sheet.curve_box(centre, table, reach, float(np.abs(table.values).max()) or None)
            sheet.text((centre[0], centre[1] + CURVE_BOX[1] / 2 + 0.15), f"$f_{{{k + 1}}}$", "center", "bottom")
            size = formula(repr(float(np.abs(table.values).max())))
            below = f"±{engineering(reach, 'V')}\nup to {size}"
            sheet.text((centre[0], centre[1] - CURVE_BOX[1] / 2 - 0.15), below, "center", "top")
            if k % 4 == 3 and k < len(curves) - 1:
                y -= CURVE_BOX[1] + 2.4
        y -= CURVE_BOX[1] + 2.4 if curves else 0.0


def _folded(said: str) -> list[str]:
    """Return a long sum in lines, cut where a term begins."""
    terms, depth, start = [], 0, 0
    for k, letter in enumerate(said):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter in "+-" and depth <= 1 and k and said[k - 1] not in "e(*,{" and k - start > WIDE:
            terms.append(said[start:k])
            start = k
    return [*terms, said[start:]]


def _pin(sheet: Sheet, at: Point, name: str, align: str, vertical: str = "center") -> None:
    """Write the name of a pin."""
    sheet.text(at, formula(name), align, vertical)
