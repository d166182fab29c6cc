"""The mark of tests that need the models of the transistors: skipped without them, unless nothing may be skipped."""

import os

import pytest

from circuitlsc.circuit.transistor import process

missing = not process.installed() and os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") != "1"
needs_models = pytest.mark.skipif(missing, reason="the models of GF180MCU are not installed")
