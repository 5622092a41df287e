"""Entry point: finds the verb, imports only its module, and turns every error into one line and an exit code.

A verb module has: a docstring (its help), `EXAMPLES` (command lines, run by the tests), `configure(parser)` which adds its arguments,
and `run(args, settings)` which returns an exit code (None means 0). A verb with long output has `paged(args)`: whether a pager helps.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import warnings

from bpflens import __version__
from bpflens.cli.settings import Settings
from bpflens.cli.verb_table import VERBS, Verb
from bpflens.errors import BpflensError, InputError, SourceWarning, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn, TextIO

__all__ = ("main", "verb_parser")

_COLLECT_AFTER = 50_000  # objects: what a command makes lives to its end, and looking through it for garbage takes a tenth of its time
USAGE = "usage: bpflens [--json] [--color auto|always|never] [-v] VERB [OPTION...] TARGET..."

TARGETS = """\
A TARGET is  id:N  name:S  tag:HEX  pin:PATH  map:N  link:N  pid:N  fd:PID/FD  sock:INODE  dev:IF  cgroup:PATH  netns:NAME
             FILE  FILE#section  FILE#function  -  (standard input: any dump it can recognise)
             'pcap:EXPRESSION'  (compiled with libpcap)"""

WHATS = """\
A WHAT is  a kind (xdp, tc, socket ...), or an object, holder or program as dev:IF, pid:N, id:N ("bpflens ls --help" has all),
           or a snapshot (x.bpfsnap). It is no object file: "bpflens show FILE" shows one."""

GLOBAL_OPTIONS = """\
Global options, before or after the verb:
  --json                      JSON Lines instead of text
  --color auto|always|never   default: auto (a terminal, and NO_COLOR not set)
  --no-pager                  long output on a terminal is not piped into $PAGER
  -v, --verbose               more talk on stderr; -vv shows tracebacks
  -V, --version               print the version
  -h, --help                  this page, or that of a verb"""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and end the process; `argv` defaults to the process's arguments.

    The interpreter is not taken apart before: a short command would spend a tenth of its time on it, and nothing waits for it.
    """
    code = run(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = code or 3
    os._exit(code)


def run(argv: list[str]) -> int:
    """Run the command line; returns the exit code. Only -vv lets an exception through."""
    as_json = "--json" in argv
    verbosity = 0
    rest: list[str] = []
    gc.set_threshold(_COLLECT_AFTER)
    try:
        _check_streams()
        settings, rest = _take_global_options(argv)
        verbosity = settings.verbosity
        with warnings.catch_warnings():
            warnings.simplefilter("always", SourceWarning)
            warnings.showwarning = _show_warning
            code = _dispatch(settings, rest)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone: leave quietly
        return 141
    except KeyboardInterrupt:
        _report("interrupted", None, 130, as_json)
        return 130
    except BpflensError as error:
        if verbosity > 1:
            raise
        _flush()
        from bpflens.cli.rejected import hint_of

        _report(str(error), hint_of(error, rest), error.exit_code, as_json)
        return error.exit_code
    except OSError as error:
        if verbosity > 1:
            raise
        _flush()
        what = f"{error.filename}: " if error.filename else ""
        _report(f"{what}{error.strerror or error}", None, 3, as_json)
        return 3
    except RecursionError:
        if verbosity > 1:
            raise
        _report("input is nested too deeply", None, 3, as_json)
        return 3
    except Exception as error:
        if verbosity > 1:
            raise
        _flush()
        reason = f"internal error: {type(error).__name__}: {error}"
        _report(reason, "this is a fault of bpflens; the same command with -vv shows where", 3, as_json)
        return 3


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    """A damaged source is told of in one line; warnings of Python and of libraries are for developers."""
    if issubclass(category, SourceWarning):
        from bpflens.view.style.printable import printable

        print(f"bpflens: warning: {printable(str(message))}", file=sys.stderr)


def _check_streams() -> None:
    """Streams that the caller has closed are None; what an encoding lacks or a terminal would act on is escaped, not refused."""
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # print(file=None) would go to standard output
    if sys.stdout is None:
        raise InputError("standard output", "is closed")
    sys.stdout, sys.stderr = _escaping(sys.stdout), _escaping(sys.stderr)


def _escaping(stream: TextIO) -> TextIO:
    if type(stream) is not io.TextIOWrapper:
        return stream
    if stream.isatty():
        from bpflens.view.style.terminal import Terminal

        stream.flush()
        return Terminal(stream.buffer, stream.encoding, "backslashreplace", line_buffering=True)
    from bpflens.view.style.stream import Stream

    return Stream(stream)


def _dispatch(settings: Settings, rest: list[str]) -> int:
    if not rest:
        print(help_text(), file=sys.stderr)
        return 2
    if rest[0] in ("-h", "--help"):
        print(help_text())
        return 0
    if rest[0] in ("-V", "--version"):
        print(f"bpflens {__version__}")
        return 0
    verb = next((v for v in VERBS if v.name == rest[0]), None)
    if verb is None:
        raise _unknown_verb(rest[0])
    module, parser = verb_parser(verb, rest[1:])
    try:
        args = parser.parse_args(rest[1:])
    except SystemExit as stop:  # argparse has printed its help
        return int(stop.code or 0)
    wants = getattr(module, "paged", None)  # a verb with long output has paged(args)
    if wants is None or not settings.pager or settings.json or not wants(args):
        return int(module.run(args, settings) or 0)
    from bpflens.cli.pager import paged

    with paged(True):
        return int(module.run(args, settings) or 0)
    return 0  # whoever read the pager has seen enough


def verb_parser(verb: Verb, typed: Sequence[str] = ()) -> tuple[ModuleType, argparse.ArgumentParser]:
    """The verb's module and its argument parser."""
    import argparse
    import importlib

    vars(argparse)["_"] = str  # its messages are English as ours: no search for translations, nor the import of `locale` for it

    class Formatter(argparse.RawDescriptionHelpFormatter):
        def __init__(self, prog: str) -> None:  # with a width of its own argparse does not import shutil and its compressors
            super().__init__(prog, width=_columns() - 2)

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise _like_a_file(typed, self, verb.name) or _misspelled(message, self, verb.name)

    module = importlib.import_module(f"bpflens.cli.verbs.{verb.module}")
    examples = "\n".join(f"  {example}" for example in getattr(module, "EXAMPLES", ()))
    parser = Parser(
        prog=f"bpflens {verb.name}",
        description=module.__doc__,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    forms = WHATS if any(action.metavar == "WHAT" for action in parser._actions) else TARGETS
    parser.epilog = f"Examples:\n{examples}\n\n{forms}" if examples else forms
    return module, parser


def _like_a_file(typed: Sequence[str], parser: argparse.ArgumentParser, verb: str) -> UsageError | None:
    """The error for a word that argparse takes for options and that looks like a file's name, where there is one."""
    known = parser._option_string_actions
    end = typed.index("--") if "--" in typed else len(typed)
    for word in typed[:end]:
        unknown = word.startswith("-") and len(word) > 1 and word[:2] not in known and word.partition("=")[0] not in known
        if unknown and (os.path.isfile(word) or word.endswith((".o", ".bpfsnap", ".pcap"))):
            return UsageError("", f'no option "{word}"', f'a file is written "./{word}"')
    return None


def _misspelled(message: str, parser: argparse.ArgumentParser, verb: str) -> UsageError:
    """What argparse says, in our words where an option or a choice may be a slip of the pen."""
    import re

    see = f'see "bpflens {verb} --help"'
    unknown = re.match(r"unrecognized arguments: (-\S*)", message)
    if unknown:
        name = unknown[1].partition("=")[0]
        return UsageError("", f'no option "{name}"', _did_you_mean(name, [*parser._option_string_actions], see))
    choice = re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message)
    if choice:
        known = re.findall(r"'([^']*)'", choice[3])
        return UsageError(choice[1], f'"{choice[2]}" is none of {", ".join(known)}', _did_you_mean(choice[2], known, see))
    return UsageError("", message, see)


def _did_you_mean(name: str, known: list[str], else_see: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f'did you mean "{close[0]}"?' if close else else_see


def _columns() -> int:
    """Width of the terminal as shutil.get_terminal_size finds it."""
    try:
        return int(os.environ["COLUMNS"]) or os.get_terminal_size(1).columns
    except (KeyError, ValueError, OSError):
        pass
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def help_text() -> str:
    """The page of `bpflens --help`, from the table of verbs; imports nothing."""
    lines = [USAGE, "", "objdump for BPF, and further: find, read, explain, prove and recover every BPF program.", ""]
    width = max(len(verb.name) for verb in VERBS)
    for group in dict.fromkeys(verb.group for verb in VERBS):
        lines.append(f"{group}:")
        lines += [f"  {verb.name:{width}}  {verb.help}" for verb in VERBS if verb.group == group]
        lines.append("")
    return "\n".join([*lines, GLOBAL_OPTIONS, "", TARGETS])


def _unknown_verb(name: str) -> UsageError:
    if name.startswith("-"):
        options = ["--json", "--color", "--no-pager", "--verbose", "--version", "--help"]
        return UsageError("", f'no option "{name}"', _did_you_mean(name, options, 'see "bpflens --help"'))
    return UsageError("", f'no verb "{name}"', _did_you_mean(name, [verb.name for verb in VERBS], 'see "bpflens --help"'))


def _take_global_options(argv: list[str]) -> tuple[Settings, list[str]]:
    """Global options are taken wherever they stand before `--`."""
    as_json, color, verbosity, pager = False, "auto", 0, True
    rest: list[str] = []
    tokens = iter(argv)
    for token in tokens:
        if token == "--":
            rest += [token, *tokens]
        elif token == "--json":
            as_json = True
        elif token in ("-v", "-vv", "-vvv"):
            verbosity += len(token) - 1
        elif token == "--verbose":
            verbosity += 1
        elif token == "--no-pager":
            pager = False
        elif token == "--color":
            color = next(tokens, "")
        elif token.startswith("--color="):
            color = token[8:]
        else:
            rest.append(token)
    if color not in ("auto", "always", "never"):
        raise UsageError("--color", f'"{color}" is not auto, always or never')
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Settings(as_json, color == "always" or (color == "auto" and wanted), verbosity, pager), rest


def _report(message: str, hint: str | None, code: int, as_json: bool) -> None:
    from bpflens.view.style.printable import printable

    message = printable(" ".join(message.split("\n")))
    if as_json:
        import json

        from bpflens.records.error import record

        print(json.dumps(record(message, hint, code)), file=sys.stderr)
        return
    print(f"bpflens: error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)


def _flush() -> None:
    """What is printed already goes out before the message; where it cannot, it is dropped, so that the exit does not try again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
