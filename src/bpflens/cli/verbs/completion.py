"""Print the completion script of a shell: bash, zsh or fish.

  bash:  bpflens completion bash > /usr/share/bash-completion/completions/bpflens
  zsh:   bpflens completion zsh > "${fpath[1]}/_bpflens"
  fish:  bpflens completion fish > ~/.config/fish/completions/bpflens.fish
"""

from __future__ import annotations

import argparse

from bpflens.cli.settings import Settings
from bpflens.cli.verb_table import VERBS

EXAMPLES = ("bpflens completion bash",)

PREFIXES = ("id:", "name:", "tag:", "pin:", "map:", "link:", "fd:", "pid:", "sock:", "dev:", "cgroup:", "netns:", "pcap:")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the script; it is static, so completing never starts bpflens."""
    from bpflens.cli.main import verb_parser

    options = {}
    for verb in VERBS:
        parser = verb_parser(verb)[1]
        options[verb.name] = sorted(o for action in parser._actions for o in action.option_strings if o.startswith("--"))
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](options))
    return 0


def _bash(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"        {name}) words='{' '.join(words)}' ;;" for name, words in options.items())
    return f"""\
_bpflens() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} verb= words= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in -*) ;; *) verb=${{COMP_WORDS[i]}}; break ;; esac
    done
    case $verb in
        '') words='{" ".join(options)} --json --color --verbose --version --help' ;;
{cases}
    esac
    [[ -n $verb && $cur != -* ]] && words='{" ".join(PREFIXES)}'
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [[ -n $verb && $cur != -* ]] && COMPREPLY+=($(compgen -f -- "$cur"))
    [[ ${{COMPREPLY[0]}} == *: ]] && compopt -o nospace
}}
complete -o filenames -F _bpflens bpflens"""


def _zsh(options: dict[str, list[str]]) -> str:
    verbs = " ".join(f"'{verb.name}:{verb.help.replace(chr(39), '')}'" for verb in VERBS)
    cases = "\n".join(f"        {name}) compadd -- {' '.join(words)} ;;" for name, words in options.items())
    return f"""\
#compdef bpflens
_bpflens() {{
    local -a verbs=({verbs})
    if (( CURRENT == 2 )); then _describe verb verbs; return; fi
    case $words[2] in
{cases}
    esac
    compadd -S '' -- {" ".join(PREFIXES)}
    _files
}}
_bpflens "$@\""""


def _fish(options: dict[str, list[str]]) -> str:
    lines = []
    for verb in VERBS:
        text = verb.help.replace("'", "")
        lines.append(f"complete -c bpflens -n __fish_use_subcommand -a {verb.name} -d '{text}'")
        lines += [f"complete -c bpflens -n '__fish_seen_subcommand_from {verb.name}' -l {o[2:]}" for o in options[verb.name]]
    return "\n".join(lines)
