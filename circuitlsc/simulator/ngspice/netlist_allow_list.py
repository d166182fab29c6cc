"""What of ngspice's language is known to be harmless: no command is run, no file is opened. All else is refused."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Dot-cards, beside those that include a file.
CARDS = _words("""
    .ac .dc .disto .else .elseif .end .endif .endl .ends .four .func .global .ic .if .meas .measure .model .nodeset .noise
    .op .option .options .param .params .plot .print .pz .save .sens .subckt .temp .tf .title .tran .width
""")

#: First letters of devices; N would be compiled Verilog-A, U a digital part of PSpice.
DEVICES = frozenset("abcdefghijklmopqrstvwxyz")

#: Words that are commands wherever ngspice runs commands; no device is called so.
COMMANDS = _words("""
    alterparam cd codemodel echo edit gnuplot hardcopy load mc_source osdi plot pre_codemodel pre_osdi quit rehash set
    setcs shell snload snsave source system unset wrdata write wrs2p wrnodev
""")

#: Names that ``.options`` may set.
OPTIONS = _words("""
    abstol acct altinit autostop chgtol cshunt defad defas defl defm defw dynop gmin gminsteps interp itl1 itl2 itl3 itl4
    itl5 itl6 keepopinfo klu list lteabstol ltereltol maxevtiter maxopalter maxord maxwarns method minbreak newtrunc
    noacct node noinit nomod noopalter noopiter nopage numdgt oldlimit opts pivrel pivtol reltol rshunt savecurrents scale
    scalm seed seedinfo sourcesteps sparse srcsteps temp tnom trtol trytocompact vntol warn xmu
""")

#: Types of ``.model``: SPICE's devices, and the code models that only calculate.
MODELS = _words("""
    r c l res cap ind d npn pnp njf pjf nmf pmf nmos pmos vdmos vdmosn vdmosp sw csw ltra urc txl cpl
    aswitch astate capacitoric climit cmeter core d_dt delay divide gain hyst ilimit inductoric int lcouple limit lmeter
    memristor mult multi_input_pwl oneshot potentiometer pswitch pwl pwlts s_xfer sidiode sine slew spice2poly square summer
    triangle zener
    adc_bridge bidi_bridge dac_bridge d_to_real real_delay real_gain real_to_v
    d_and d_buffer d_dff d_dlatch d_fdiv d_genlut d_inverter d_jkff d_lut d_nand d_nor d_open_c d_open_e d_or d_osc
    d_pulldown d_pullup d_pwm d_ram d_srff d_srlatch d_tff d_tristate d_xnor d_xor
""")

#: Levels of MOS models that write nothing; BSIM's write a log of a fixed name (b3v33check.log) where ngspice works.
MOS_LEVELS = _words("1 2 3 4 5 6 9")
