"""What each number of a report means: the texts that pages show below their tables and `circuitlsc explain` prints."""

from __future__ import annotations

from circuitlsc.io.report import Facts, Report, Table

#: titles of columns and labels of lines; what two reports call by one name means the same in both
TERMS = {
    "circuit": "What the circuit's samples give, in ngspice.",
    "SDE": "What a NumPy solver of the same equation gives, of the same length: a second sampler, without circuit.",
    "exact": "What the posterior gives: a closed form, quadrature, enumeration, or a long reference run ('reference').",
    "error": "Monte-Carlo standard error of the circuit's value: how far samples of a correct circuit may be off.",
    "z": "Circuit minus exact, over the standard error of correct runs like this one.",
}


def meanings(report: Report) -> list[tuple[str, str]]:
    """Return the terms that stand in a report with what they mean, each once, in order."""
    found: dict[str, None] = {}
    for block in report.blocks:
        if isinstance(block, Table):
            found |= dict.fromkeys(word for column in block.columns for word in (column.group, column.title))
        elif isinstance(block, Facts):
            found |= dict.fromkeys(label for label, _ in block.rows)
    return [(term, TERMS[term]) for term in found if term in TERMS]
