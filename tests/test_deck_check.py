"""`circuitlsc check`: each way in which a foreign netlist gets ngspice to run a command or to open a file is refused."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from circuitlsc import InputError
from circuitlsc.cli.main import app
from circuitlsc.simulator.ngspice.deck_check import MOST_BYTES, check_deck
from circuitlsc.simulator.ngspice.deck_lines import check_lines

ROOT = Path(__file__).parents[1]
BODY = "V1 1 0 1\nR1 1 0 1k\n.op\n.print op v(1)\n"
#: decks that make ngspice 39 run `touch MARK`, and what the check says of them
RUN_COMMANDS = {
    ".control": (f"* t\n{BODY}.control\nshell touch MARK\n.endc\n.end\n", r"deck\.cir:6: ngspice runs the commands"),
    "a longer word": (f"* t\n{BODY}.CONTROLling\nshell touch MARK\n.endc\n.end\n", r":6: ngspice runs the commands"),
    "after the end": (f"* t\n{BODY}.end\n.control\nshell touch MARK\n.endc\n", r":7: ngspice runs the commands"),
    "*# comment": (f"* t\n{BODY}*#shell touch MARK\n.end\n", r":6: \*# is no comment"),
    "*# after blanks": (f"* t\n{BODY}   *#shell touch MARK\n.end\n", r":6: \*# is no comment"),
    "*ng_script": ("*ng_script\nshell touch MARK\n", r":1: \*ng_script makes every line"),
    ".title *ng_script": ("* t\n.title *ng_script\nshell touch MARK\n", r":2: a title that begins with \*"),
    ";# becomes *#": (f"* t\n{BODY};#shell touch MARK\n.end\n", r":6: ;# is no comment"),
    "$# becomes *#": (f"* t\n{BODY}.end\n$#shell touch MARK\n", r":7: \$# is no comment"),
    "joined to ;#": (f"* t\n{BODY};#\n+shell touch MARK\n.end\n", r":6: ;# is no comment"),
    "$ng_script": ("$ng_script\nalias zz shell\nzz touch MARK\n", r":1: \$ng_script makes every line"),
    "(ng_script": ("(ng_script\nalias zz shell\nzz touch MARK\n", r":1: \(ng_script makes every line"),
    ".title ;ng_script": ("* t\n.title ;ng_script\nalias q shell\nq touch MARK\n", r":2: a title that begins with ;"),
    "a carriage return": (f"* t\n{BODY}.con\rtrol\nshell touch MARK\n.endc\n.end\n", r":6: .*control character 0x0d"),
    "a NUL": (f"* t\n{BODY}*\0\n.control\nshell touch MARK\n.endc\n.end\n", r":6: .*control character 0x00"),
    "a cut title": (f"*{'a' * 4998}.control\nshell touch MARK\n.endc\n{BODY}.end\n", r":1: the first line has 5007"),
    "an included title": (".include part.inc\n", r"part\.inc:1: \*# is no comment"),
    "an included line": (f"* t\n{BODY}.incantation part.inc\n.end\n", r":6: \.incantation is not on the list"),
}


def write(folder, text, name="deck.cir"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def version():
    done = subprocess.run(["ngspice", "--version"], capture_output=True, text=True, check=True)
    return int(re.search(r"ngspice-(\d+)", done.stdout)[1])


def said(deck):
    return [str(finding) for finding in check_deck(deck)]


@pytest.mark.parametrize("name", RUN_COMMANDS)
def test_what_runs_commands_is_refused(name, tmp_path):
    text, expected = RUN_COMMANDS[name]
    write(tmp_path, "*#shell touch MARK\n", "part.inc")
    findings = said(write(tmp_path, text))
    assert any(re.search(expected, finding) for finding in findings), findings
    assert all(finding.isprintable() for finding in findings)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", RUN_COMMANDS)
def test_and_it_does_run_commands(name, tmp_path):
    """The negative control: without the check, plain ngspice runs the program."""
    mark = tmp_path / "mark"
    text, _ = RUN_COMMANDS[name]
    write(tmp_path, f"*#shell touch {mark}\n", "part.inc")
    deck = write(tmp_path, text.replace("MARK", str(mark)))
    subprocess.run(["ngspice", "-b", deck.name], cwd=tmp_path, capture_output=True, check=False)
    # ngspice 44 looks for a script before it puts a * in place of other characters
    assert mark.exists() or (name.endswith("ng_script") and "*" not in name and version() > 39)


@pytest.mark.ngspice
def test_a_source_reads_and_a_model_writes_files(tmp_path):
    """What is refused below does read outside the folder, and does write where a link of the stranger's points."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("0 42\n1 42\n")
    (folder / "b3v33check.log").symlink_to(tmp_path / "mine.txt")
    source = f'.model f filesource (file="{tmp_path}/secret.txt" amploffset=[0] amplscale=[1])'
    log = ".model m nmos level=8 version=3.3.0 tox=0.1n"
    text = f"* t\n{BODY}A1 %v([2]) f\n{source}\nR2 2 0 1\nM1 1 1 0 0 m l=1u w=1u\n{log}\n.tran 1u 2u\n.print tran v(2)\n.end\n"
    deck = write(folder, text)
    done = subprocess.run(["ngspice", "-b", deck.name], cwd=folder, capture_output=True, check=False)
    assert b"4.200000e+01" in done.stdout
    assert (tmp_path / "mine.txt").exists()
    findings = said(deck)
    assert any("the model type filesource" in finding for finding in findings)
    assert any("level 8 may write a log" in finding for finding in findings)


@pytest.mark.ngspice
@pytest.mark.parametrize("comment", ["$ r", "// r", "; r", "nmos $ level=1", "nmos // level=1"])
def test_comments_hide_no_model(comment, tmp_path):
    """ngspice cuts them off before it joins lines: what follows them on the next line is the type, or the level."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("0 42\n1 42\n")
    (folder / "b3v33check.log").symlink_to(tmp_path / "mine.txt")
    if comment.startswith("nmos"):
        use, rest = "M1 1 1 0 0 m l=1u w=1u", "level=8 version=3.3.0 tox=0.1n"
    else:
        use, rest = "A1 %v([2]) m", f"filesource(file {tmp_path}/secret.txt amploffset=[0] amplscale=[1])"
    hidden = f".model m {comment}\n+ {rest}" if "nmos" in comment else f".model {comment}\n+ m {rest}"
    deck = write(folder, f"* t\n{BODY}{use}\nR2 2 0 1\n{hidden}\n.tran 1u 2u\n.print tran v(2)\n.end\n")
    done = subprocess.run(["ngspice", "-b", deck.name], cwd=folder, capture_output=True, check=False)
    assert b"4.200000e+01" in done.stdout or (tmp_path / "mine.txt").exists()
    assert any(re.search(r"the model type (m|filesource)|level 8 may write", finding) for finding in said(deck))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("shell rm -rf ~", "shell is a command of ngspice"),
        ("!touch mark", "begins no device"),
        ("`touch mark`", "begins no device"),
        ("source other.cir", "source is a command of ngspice"),
        ("write /tmp/x.raw", "write is a command of ngspice"),
        ("wrdata /tmp/x v(1)", "wrdata is a command of ngspice"),
        ("R2 1 0 `id`", "backquote"),
        (".meas tran a max v(1) `id`", "backquote"),
        (".csparam a=1", r"\.csparam is not on the list"),
        (".exec touch mark", r"\.exec is not on the list"),
        (".codemodel /tmp/x.cm", r"\.codemodel is not on the list"),
        (".pre_osdi /tmp/x.osdi", r"\.pre_osdi is not on the list"),
        (".osdi /tmp/x.osdi", r"\.osdi is not on the list"),
        (".hdl x.va", r"\.hdl is not on the list"),
        (".probe all", r"\.probe is not on the list"),
        (".snsave /tmp/x", r"\.snsave is not on the list"),
        (".snload /tmp/x", r"\.snload is not on the list"),
        (".write /tmp/x", r"\.write is not on the list"),
        (".incpslt x", r"\.incpslt is not on the list"),
        (".{x}", r"\.\{x\} is not on the list"),
        (".option rawfile=/tmp/x", "the option rawfile is not on the list"),
        (".options reltol = 1e-3 ngdebug", "the option ngdebug is not on the list"),
        ("N1 1 0 compiled", "compiled Verilog-A"),
        ('.model f filesource (file="x")', "the model type filesource"),
        (".model f\n+ d_source(x=1)", "the model type d_source"),
        (".model f\n* between\n+ D_STATE(x=1)", "the model type d_state"),
        (".model f table2d (x=1)", "the model type table2d"),
        (".model f d_process", "the model type d_process"),
        (".model f d_cosim", "the model type d_cosim"),
        (".model f xfer", "the model type xfer"),
        (".model f numd level=1", "the model type numd"),
        (".model f {t}", r"the model type \{t\}"),
        (".model f", r"\.model has no type"),
        (".model f nmos level = 14", "level 14 may write a log"),
        (".model f pmos(level={l})", r"level \{l\} may write a log"),
        (".model f nmos xlevel=8", "level 8 may write a log"),
        (".model f nmos level 4.9e1", "level 4.9e1 may write a log"),
        (";\n+ 5", "continues no card"),
        ("C1 1 0 1n\n;\n+ 5", "continues no card"),
        (".model $ r\n+ f filesource(file x)", "the model type filesource"),
        (".model f d_source(x=1)\n; behind", "the model type d_source"),
        ("A1 1 0 f input_file=x", "input_file = names a file"),
        ("V2 2 0 pwl FILE = x", "FILE = names a file"),
        ('B1 2 0 v="x"', 'has a "text"'),
        ("R2 1 0\x0c1k", "control character 0x0c"),
        ("R2 1 0 \xa01k", "not ASCII"),
        ("+ of nothing", "continues no card"),
        (".include part.inc\n+ 5", "continues no card"),
    ],
)
def test_other_lines_that_are_refused(line, expected, tmp_path):
    write(tmp_path, "R9 1 0 1k\n", "part.inc")
    cards = line if line.startswith("+") else f"{BODY}{line}"
    findings = said(write(tmp_path, f"* t\n{cards}\n.end\n"))
    assert len(findings) == 1
    assert re.search(expected, findings[0]), findings
    assert findings[0].isprintable()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (".include ../secret.inc", "leaves the deck's folder"),
        ('.INC "sub/../../secret.inc"', "leaves the deck's folder"),
        (".include link.inc", "leaves the deck's folder"),
        (".lib ../secret.inc tt", "leaves the deck's folder"),
        (".include /etc/passwd", "does not name a file in the deck's folder"),
        (".include ~/secret.inc", "does not name a file in the deck's folder"),
        (".include $HOME/secret.inc", "does not name a file in the deck's folder"),
        (".lib '~/secret.inc' tt", "does not name a file in the deck's folder"),
        (".include missing.inc", "no such file"),
        (".include", "not followed by the name of one file"),
        (".include a b", "not followed by the name of one file"),
        (".include pipe", "cannot be read: it is a pipe or a device"),
        (".include sub", "cannot be read: it is a folder"),
        (".include loop", "cannot be found|there is no such file"),  # of Python 3.11, of 3.13
        (".include round.inc", "in a circle: round.inc"),
        (".include deck.cir", "in a circle: deck.cir"),
    ],
)
def test_includes_stay_in_the_folder(line, expected, tmp_path):
    folder = tmp_path / "theirs"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.inc").write_text("R8 1 0 1k\n")
    (folder / "link.inc").symlink_to("../secret.inc")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    write(folder, ".include round.inc\n", "round.inc")
    findings = said(write(folder, f"* t\n{BODY}{line}\n.end\n"))
    assert len(findings) == 1
    assert re.search(expected, findings[0]), findings


def test_harmless_files_are_included_and_read(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path, ".lib tt\n.model m nmos level=1\n.include deeper.inc\n.endl tt\n", "sub/models.lib")
    deeper = write(tmp_path, "R3 1 0 1k\n", "sub/deeper.inc")
    deck = write(tmp_path, f"* t\n{BODY}.lib 'sub/models.lib' tt\n.inc sub/deeper.inc\n.end\n")
    assert said(deck) == []
    deeper.write_text("R3 1 0 1k\n*#quit\n")
    assert said(deck) == ["sub/deeper.inc:2: *# is no comment: ngspice runs what follows as a command: *#quit"]


def test_what_ngspice_itself_runs_in_the_folder_is_found(tmp_path):
    deck = write(tmp_path, f"* t\n{BODY}.end\n")
    assert said(deck) == []
    for name in (".spiceinit", "spice.rc"):
        (tmp_path / name).write_text("shell touch mark\n")
    assert [finding.split(":")[0] for finding in said(deck)] == [".spiceinit", "spice.rc"]


# that of transistors includes models, with which test_transistor_level.py checks it
OWN = sorted(path for path in (ROOT / "netlists").glob("*.cir") if path.stem != "neuron-transistors")


@pytest.mark.parametrize("deck", OWN, ids=lambda path: path.stem)
def test_our_own_decks_pass(deck):
    assert said(deck) == []


def test_ordinary_decks_pass(tmp_path):
    text = (
        '\ufeffan amplifier, in µA\r\n* comment; not "read" `at all`, µ\r\n$ and this\r\n'
        '.option reltol = 1e-4 seed=3 klu ; of Newton\r\n; "so" # what\r\nL1 c 0 1u // "a choke"\r\n'
        '.model q npn(bf=100)\r\nQ1 c b 0 q ; the "first"\r\nVcc c 0 5\r\nVb b 0 dc 0.6 ac 1\r\n'
        ".model sw1 sw\r\n+ (vt=1 vh=0.1)\r\n.param x = {2*3}\r\nB1 d 0 v = v(b) > 1 ? x : 0\r\n.if (x > 1)\r\n"
        "R1 d 0 1k\r\n.else\r\nR1 d 0 2k\r\n.endif\r\n.tran 1u 10u\r\n.meas tran top max v(c)\r\n.print tran v(c)\r\n.end\r\n"
    )
    assert said(write(tmp_path, text)) == []


def test_the_command_line(tmp_path):
    runner = CliRunner()
    deck = write(tmp_path, f"* t\n{BODY}.end\n")
    done = runner.invoke(app, ["check", str(deck)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert (
        done.stdout
        == f"{deck}: nothing found that runs commands, or reads or writes outside {tmp_path} (run it there)\n"
    )
    write(tmp_path, f"* t\n{BODY}*#quit \x1b[31m\n.control\n.end\n")
    done = runner.invoke(app, ["check", str(deck)])
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    cases = {
        "pipe": "it is a pipe or a device, not a file",
        "/dev/zero": "it is a pipe or a device, not a file",
        ".": "it is a folder, not a file",
        "nowhere.cir": "No such file or directory",
        "loop": "Too many levels of symbolic links",
        "huge": f"it has more than {MOST_BYTES:,} bytes, the most that is read",
        "a\0b": "",  # Python 3.13 has other words for it than 3.11
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=rf"cannot be read: {re.escape(message)}[^\n]*\. Give a netlist") as caught:
            check_deck(tmp_path / name)
        assert "\n" not in str(caught.value)


LINES = st.sampled_from(
    ["R1 1 0 1k", "* comment", "+ 5", ".model m nmos", ".end", "", ".include x", "\ufeff", "*ng", ".title"]
)
HOSTILE = st.sampled_from(
    [
        ".control",
        " .ConTrol",
        "*#quit",
        "\t*#quit",
        ";#quit",
        " $#quit",
        "=ng_script",
        ".con\rtrol",
        "*NG_SCRIPTx",
        ".title *x",
        ".codemodel x",
        '.model f d_cosim (x="y")',
    ]
)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(
    before=st.lists(LINES, max_size=5),
    hostile=HOSTILE,
    after=st.lists(LINES, max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_hostile_line_is_found_wherever_it_stands(before, hostile, after, end):
    lines = ["title", *before, hostile, *after]
    complaints, _ = check_lines(end.join(lines).encode(), titled=True)
    assert 2 + len(before) in {complaint.number for complaint in complaints}


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(data=st.binary(max_size=300), titled=st.booleans())
def test_any_bytes_are_judged(data, titled):
    complaints, includes = check_lines(data, titled=titled)
    assert all(1 <= item.number <= data.count(b"\n") + 1 for item in [*complaints, *includes])
