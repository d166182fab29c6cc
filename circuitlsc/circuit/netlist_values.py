"""What parameters of subcircuits come to: ``{1/g_f}`` of an instance, its defaults, and the circuit's ``.param``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from circuitlsc.errors import NetlistError

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@dataclass(frozen=True, eq=False)
class Scope:
    """The parameters that an element of a netlist sees.

    Attributes
    ----------
    defaults : mapping
        Of the subcircuit, or the circuit's own.
    given : mapping
        Of the instance, in the words of what calls it.
    outer : Scope or None
        What calls it; None for the circuit.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    outer: Scope | None = None

    def number(self, value: Any) -> float:
        """Return a value: a number, or arithmetic on parameters.

        Raises
        ------
        NetlistError
            If it is neither.
        """
        try:
            return float(value)
        except (TypeError, ValueError):
            text = str(value).strip("{}")
        try:
            return self._evaluated(ast.parse(text, mode="eval").body)
        except SyntaxError:
            raise NetlistError(f"{value} is no number, and no arithmetic on parameters.") from None

    def _named(self, name: str) -> float:
        if self.outer is not None and name in self.given:
            return self.outer.number(self.given[name])
        if name in self.defaults:
            return self.number(self.defaults[name])
        if self.outer is None:
            raise NetlistError(f"{name} is no parameter of the circuit.")
        return self.outer._named(name)

    def _evaluated(self, node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return self._named(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._evaluated(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return float(_OPERATORS[type(op)](self._evaluated(left), self._evaluated(right)))
        raise NetlistError(f"{ast.unparse(node)} is no number, and no arithmetic on parameters.")
