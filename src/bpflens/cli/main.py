"""Entry point: the group of verbs, loaded one at a time, the global options, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass

import click

from bpflens import __version__
from bpflens.cli.verbs import VERBS
from bpflens.errors import BpflensError

__all__ = ("Settings", "main")


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options: `color` is decided ("auto" resolved against stdout and NO_COLOR)."""

    json: bool = False
    color: bool = False
    verbosity: int = 0


class LazyGroup(click.Group):
    """A group that imports a verb's module only when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb.name for verb in VERBS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        for verb in VERBS:
            if verb.name == name:
                command: click.Command = importlib.import_module(f"bpflens.cli.{verb.module}").command
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], [verb.name for verb in VERBS], 1)
            tip = f'; did you mean "{close[0]}"?' if close else '; "bpflens --help" lists the verbs'
            raise click.UsageError(f'no verb "{args[0]}"{tip}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in dict.fromkeys(verb.group for verb in VERBS):
            with formatter.section(group):
                formatter.write_dl([(verb.name, verb.help) for verb in VERBS if verb.group == group])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="bpflens", message="%(prog)s %(version)s")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines instead of text (every verb; also after the verb).")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@click.option("-v", "--verbose", count=True, help="More talk on stderr; -vv shows tracebacks.")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, color: str, verbose: int) -> None:
    """objdump for BPF, and further: find, read, explain, prove and recover every BPF program, classic and extended.

    \b
    A TARGET is  id:N  name:S  tag:HEX  pin:PATH  map:N  link:N  pid:N  fd:PID/FD
                 sock:INODE  dev:IF  cgroup:PATH  netns:NAME
                 FILE  FILE#section  FILE#function  -  (standard input)
                 'pcap:EXPRESSION'  (compiled with libpcap)
    """
    auto = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    ctx.obj = Settings(as_json, color == "always" or (color == "auto" and auto), verbose)


def main() -> None:
    """Run the command; every error becomes one line on stderr and the exit code of its class."""
    args = _global_options_first(sys.argv[1:])
    verbosity = sum(a.count("v") for a in args if a in ("-v", "-vv", "-vvv")) + args.count("--verbose")
    try:
        code = cli.main(args, prog_name="bpflens", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BpflensError as error:
        if verbosity > 1:
            raise
        _flush()
        _report(str(error), error.hint, error.exit_code, "--json" in args)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        _report(error.format_message(), _usage_hint(error), 2, "--json" in args)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _report("interrupted", None, 130, "--json" in args)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone: leave quietly
        sys.exit(141)
    except RecursionError:
        if verbosity > 1:
            raise
        _report("input is nested too deeply", None, 3, "--json" in args)
        sys.exit(3)


def _global_options_first(args: list[str]) -> list[str]:
    """Global flags are accepted after the verb too: `bpflens dis --json x.o`. Nothing behind `--` is moved."""
    front: list[str] = []
    rest: list[str] = []
    tokens = iter(args)
    for token in tokens:
        if token == "--":
            rest += [token, *tokens]
        elif token in ("--json", "-v", "-vv", "--verbose") or token.startswith("--color="):
            front.append(token)
        elif token == "--color":
            front += [token, next(tokens, "")]
        else:
            rest.append(token)
    return front + rest


def _usage_hint(error: click.ClickException) -> str | None:
    ctx = getattr(error, "ctx", None)
    return f'see "{ctx.command_path} --help"' if ctx is not None else None


def _report(message: str, hint: str | None, code: int, as_json: bool) -> None:
    message = " ".join(message.split("\n"))
    if as_json:
        import json

        print(json.dumps({"schema": "error/1", "error": message, "hint": hint, "exit_code": code}), file=sys.stderr)
        return
    print(f"bpflens: error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
