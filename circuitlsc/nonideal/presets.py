"""What published parts do wrong, as presets; docs/presets.md has the sources in full, and what is an assumption.

A preset holds only what has a meaning for it: the memories ("rram", "pcm") describe the array alone, and leave the
amplifiers around it ideal. "max/3" in a comment: a guaranteed limit, read as three standard deviations.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "ideal": {},
    "discrete-board": {
        "crossbar": {
            "g_on": 1e-4,  # 10 kohm: assumption
            "g_off": 1e-9,  # 1 Gohm of board leakage for a resistor that is not fitted: assumption
            "programming_error": 0.009,  # 1 % tolerance and rounding to E96 (IEC 60063), both uniform
        },
        "op_amp": {
            "gain": 3.16e5,  # OPA354 (TI SBOS233): 110 dB typ, from memory
            "gbw": 100e6,  # OPA354: 100 MHz typ
            "offset": 2.7e-3,  # OPA354: 8 mV max/3
            "rail": 2.4,  # OPA354: 0.1 V from a supply of +-2.5 V, typ
            "slew_rate": 150e6,  # OPA354: 150 V/us typ
            "output_resistance": 39.0,  # OPA354: open loop, typ
            "quiescent_current": 4.9e-3,  # OPA354: typ
        },
        "integrator": {
            "offset_current": 3e-12,  # OPA354: input bias current 3 pA typ, read as sd
            "rail": 2.5,  # the supply: assumption
            "capacitance_mismatch": 0.029,  # 5 % tolerance (C0G, code J: assumption), uniform
        },
        "comparator": {
            "threshold_offset": 2.2e-3,  # TLV3501 (TI SBOS321): 6.5 mV max/3
            "gate_offset": 2.2e-3,  # TLV3501: the same
            "hysteresis": 6e-3,  # TLV3501: 6 mV typ
            "delay": 4.5e-9,  # TLV3501: 4.5 ns typ at 20 mV overdrive
        },
        "multiplier": {
            "gain_error": 0.015,  # HA-2556 (Intersil FN2477): multiplication error 1.5 % typ, read as sd
            "offset": 5e-3,  # HA-2556: input offset 15 mV max/3, from memory
        },
        "prior": {
            "lam_mismatch": 0.006,  # one 1 % resistor, uniform: assumption
        },
        "noise": {
            "resistance": 2e4,  # 18 nV/sqrt(Hz), above the OPA354's 6.5: assumption
            "capacitance": 4e-12,  # OPA354: 2 pF differential and 2 pF common-mode
            "temperature_mismatch": 0.017,  # three 1 % resistors, two of them squared: assumption
            "flicker_corner": 3e4,  # assumption
            "ac_corner": 1e3,  # assumption
        },
        "supply": {"voltage": 5.0},  # within the OPA354's 2.5 V to 5.5 V
    },
    "rram": {
        "crossbar": {
            "g_on": 40e-6,  # Wan et al. 2022, as read by two simulators
            "g_off": 1e-6,  # Wan et al. 2022, from memory
            "programming_polynomial": (0.038, 0.083, -0.095),  # quadratic fit to two readings of Wan et al. 2022, 1 s
            "stuck_on": 1e-3,  # Li et al. 2018: yield 99.8 %; half of the rest: assumption
            "stuck_off": 1e-3,  # the other half
            "wire_resistance": 0.35,  # aihwkit's default, made for PCM: assumption
        },
    },
    "pcm": {
        "crossbar": {
            "g_on": 25e-6,  # Joshi et al. 2020; Nandakumar et al. 2019
            "g_off": 0.25e-6,  # Joshi et al. 2020, on/off ratio 100 as read by CrossSim
            "programming_polynomial": (0.0105392, 0.0786, -0.046924),  # Nandakumar et al. 2019 in aihwkit, uS/25
            "wire_resistance": 0.35,  # aihwkit's default
        },
    },
    "integrated-180nm": {
        "crossbar": {
            "g_on": 1e-5,  # 100 squares of 1 kohm high-resistance poly (GF180MCU specification)
            "g_off": 2.2e-11,  # Ioff 10 pA/um max at 5.5 V (GF180MCU specification), 12 um: assumption
            "levels": 64,  # 6-bit cells: assumption
            "programming_error": 0.005,  # 5 % um of poly over 100 um^2: assumption
            "wire_resistance": 2.2,  # 90 mohm/sq (GF180MCU specification), 24 squares: assumption
        },
        "op_amp": {
            "gain": 1100.0,  # Assaad and Silva-Martinez 2009: 60.9 dB, from memory
            "gbw": 134.2e6,  # Assaad and Silva-Martinez 2009: 134.2 MHz into 5.6 pF
            "offset": 1.65e-3,  # GF180MCU models: 10.51 mV um of pfet_06v0, pair of 40 um / 1.3 um
            "rail": 2.1,  # two saturation voltages of 0.2 V below 2.5 V: assumption
            "slew_rate": 94.1e6,  # Assaad and Silva-Martinez 2009: 94.1 V/us
            "output_resistance": 1e3,  # a follower of 1 mS after the amplifier: assumption
            "quiescent_current": 0.8e-3,  # Assaad and Silva-Martinez 2009, from memory
        },
        "integrator": {
            "output_resistance": 9e9,  # leakage 1 pA/um^2 max at 6 V of 1 pF of MIM (GF180MCU specification)
            "rail": 2.1,  # as the op-amp's: assumption
            "capacitance_mismatch": 0.0024,  # MIM of 1 pF: 1 % max/3 a pair, /sqrt(2) (GF180MCU specification)
        },
        "comparator": {
            "threshold_offset": 3.9e-3,  # GF180MCU models: 10.51 mV um, pair of 10 um / 1 um
            "gate_offset": 3.9e-3,  # the same
            "delay": 5e-9,  # assumption
        },
        "multiplier": {
            "gain_error": 0.011,  # mirror of 40 um / 1.3 um: 2 x 1.65 mV over an overdrive of 0.3 V (assumption)
            "offset": 3.9e-3,  # as the comparators'
        },
        "prior": {
            "lam_mismatch": 0.011,  # the same mirror
        },
        "noise": {
            "capacitance": 50e-15,  # gate and wiring: assumption
            "temperature_mismatch": 0.023,  # the mirror's gain squared, and the resistor: assumption
            "flicker_corner": 1e5,  # assumption
            "ac_corner": 1e3,  # assumption
        },
        "supply": {"voltage": 5.0},  # the process's 5 V transistors
    },
}
