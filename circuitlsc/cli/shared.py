"""What the commands share: the application, arguments, one-line errors."""

from __future__ import annotations

import inspect
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from circuitlsc.errors import CircuitLSCError, InputError, MissingSimulatorError, printable
from circuitlsc.io.output import PAGE

if TYPE_CHECKING:
    from circuitlsc.io.report import Report
    from circuitlsc.sampling.sampler import Sampler

FAILED, USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = {"agrees": 0, "disagrees": 3, "inconclusive": 4}

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compile a sparse-coding posterior into an analog circuit, run it in ngspice, and compare its samples.",
)
ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Config file.")]
Anywhere = Annotated[
    bool, typer.Option("--anywhere", help="Let the config name files outside its folder; for configs that you trust.")
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"circuitlsc {version('circuitlsc')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every error that has a message for the user into one line and an exit code."""
    try:
        yield
    except CircuitLSCError as error:
        fail(error, USAGE if isinstance(error, (InputError, MissingSimulatorError)) else FAILED)
    except KeyboardInterrupt:
        fail("interrupted; nothing was written", INTERRUPTED)
    except MemoryError as error:
        fail(f"not enough memory ({error}). Make the problem smaller.", FAILED)
    except (ArithmeticError, ValueError) as error:
        # NumPy's LinAlgError is a ValueError; any other would be a slip of ours, and is shown as one
        if not isinstance(error, ArithmeticError) and type(error).__name__ != "LinAlgError":
            raise
        what = "they are too large, too small or too far apart for double precision. Bring them nearer to 1."
        fail(f"the numbers of this problem cannot be calculated with ({error}): {what}", FAILED)
    except OSError as error:
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", FAILED)


def fail(message: object, code: int) -> NoReturn:
    """Print an error as one line, and leave with a code."""
    print(f"circuitlsc: error: {printable(' '.join(str(message).split()), None)}", file=sys.stderr)
    raise typer.Exit(code)


class Ended(NamedTuple):
    """What a command says at its end, and where its results are.

    Attributes
    ----------
    said : Report or str
    verdict : str
        What the exit code stands for, or another word for failure; empty: the report's.
    page : pathlib.Path or None
        The file to open.
    """

    said: Report | str
    verdict: str = ""
    page: Path | None = None

    def text(self) -> str:
        """Return what is said, no wider than the terminal (80 characters where there is none, and no $COLUMNS)."""
        return self.said if isinstance(self.said, str) else self.said.text(shutil.get_terminal_size().columns)

    @property
    def code(self) -> int:
        """The exit code."""
        verdict = self.verdict or ("" if isinstance(self.said, str) else self.said.verdict)
        return EXIT_CODES.get(verdict or "agrees", FAILED)


def completed(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return what a shell's completion asks for: those of the words that begin as what was typed."""
    return lambda incomplete: [word for word in words() if word.startswith(incomplete)]


Body = Callable[..., Ended | None]


def _check_numbers(options: list[inspect.Parameter], given: dict[str, Any]) -> None:
    """Raise InputError if an option's number is not finite, or has no room for its square."""
    from circuitlsc.io.arrays import is_finite

    for option in options:
        value = given[option.name]
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not is_finite(number):
                name = option.annotation.__metadata__[0].default  # to typer, the first name
                raise InputError(f"{name} {number:g} is no finite number within 1e-100 .. 1e100. Give one.")


def options_of(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the arguments of a function, by name."""
    arguments = inspect.signature(call, eval_str=True).parameters.values()
    return [argument.replace(kind=inspect.Parameter.KEYWORD_ONLY) for argument in arguments]


def said_by(name: str, options: list[inspect.Parameter], given: Mapping[str, Any]) -> str:
    """Return the line that calls a command with what it was given; defaults are left out."""
    words = ["circuitlsc", name]
    for option in options:
        value, info = given[option.name], option.annotation.__metadata__[0]
        if isinstance(info, typer.models.ArgumentInfo):
            words.append(str(value))
        elif value is not None and value != option.default:
            called = info.default  # to typer, the first name
            for each in value if isinstance(value, list) else [value]:
                words += [called] if each is True else [called, str(each)]
    return shlex.join(words)


def plain(name: str, options: list[inspect.Parameter] | None = None, **settings: Any) -> Callable[[Body], Body]:
    """Register a command: a function of its options. Its text is printed; an error with a message is one line and a code.

    ``settings`` are those of its Click context.
    """

    def register(body: Body) -> Body:
        def call(**given: Any) -> None:
            with one_line_errors():
                _check_numbers(own, given)
                if (ended := body(**given)) is not None:
                    print(ended.text())
                    if ended.page is not None:
                        folder, page = (printable(str(path), None) for path in (ended.page.parent, ended.page))
                        where = f"results are in {folder}; " if ended.page.name == PAGE else ""
                        print(f"{where}open {page}", file=sys.stderr)
                    raise typer.Exit(ended.code)

        own = options_of(body) if options is None else options
        call.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        call.__doc__ = body.__doc__
        app.command(name, context_settings=settings)(call)
        return body

    return register


def print_rules(sampler: Sampler) -> None:
    """Check the design rules; those that are broken go to stderr as warnings."""
    from circuitlsc.studies.design_rules import check_rules

    for rule in check_rules(sampler):
        print(f"{'rule' if rule.ok else 'WARNING':<14} {rule}", file=sys.stderr)


def say(text: str) -> None:
    """Say on stderr what is being done."""
    print(f"  {text} ...", file=sys.stderr)
