"""Print the completion script of a shell: bash, zsh or fish.

  bash:  bpflens completion bash > /usr/share/bash-completion/completions/bpflens
  zsh:   bpflens completion zsh > "${fpath[1]}/_bpflens"
  fish:  bpflens completion fish > ~/.config/fish/completions/bpflens.fish

Verbs, options and their values are in the script. For a word such as dev:e or id: the script asks "bpflens completion targets dev:e",
which prints what is there.
"""

from __future__ import annotations

import argparse

from bpflens.cli.settings import Settings
from bpflens.cli.verb_table import VERBS
from bpflens.lean import NamedTuple

EXAMPLES = ("bpflens completion bash", "bpflens completion targets dev:")

PREFIXES = (
    "id:", "name:", "tag:", "pin:", "map:", "link:", "fd:", "pid:", "sock:", "dev:", "cgroup:", "netns:", "pcap:", "comm:", "exe:", "unit:",
)  # fmt: skip
_GLOBAL = ("--json", "--color", "--verbose", "--version", "--help", "--no-pager")
_LINKTYPES = ("EN10MB", "RAW", "IPV4", "IPV6", "NULL", "LOOP", "PPP", "C_HDLC", "LINUX_SLL", "LINUX_SLL2", "IEEE802_11", "IEEE802_11_RADIO")


class _Words(NamedTuple):
    """What a verb takes: its options, the values of those that have a choice, the words that its arguments may be."""

    options: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    arguments: tuple[str, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "targets"))
    parser.add_argument("word", nargs="?", default="", help="with targets: the beginning of a target")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the script, or what a word could be."""
    if args.shell == "targets":
        from bpflens.targets.candidates import candidates

        for word, text in candidates(args.word):
            print(f"{word}\t{text}" if text else word)
        return 0
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell]({verb.name: _words(verb.name) for verb in VERBS}))
    return 0


def _words(name: str) -> _Words:
    from bpflens.cli.main import verb_parser
    from bpflens.cli.verbs.help_topics import TOPICS

    parser = verb_parser(next(verb for verb in VERBS if verb.name == name))[1]
    options: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    arguments: list[str] = []
    for action in parser._actions:
        chosen = tuple(str(choice) for choice in action.choices or ())
        long = [option for option in action.option_strings if option.startswith("--")]
        options += long
        if action.option_strings and (chosen or action.dest == "linktype"):
            values.update(dict.fromkeys(action.option_strings, chosen or _LINKTYPES))
        elif not action.option_strings:
            arguments += chosen
    if name == "help":
        arguments += [*TOPICS, *(verb.name for verb in VERBS)]
    elif name in ("ls", "tree"):
        from bpflens.inventory.select import KINDS

        arguments += KINDS
    return _Words(tuple(sorted(options)), values, tuple(arguments))


def _takes_targets(name: str, words: _Words) -> bool:
    return name not in ("help", "completion", "doctor")


def _bash(verbs: dict[str, _Words]) -> str:
    values = []
    for name, words in verbs.items():
        values += [f"        '{name} {option}') words='{' '.join(chosen)}' ;;" for option, chosen in words.values.items()]
    options = []
    for name, words in verbs.items():
        options.append(f"        {name}) options='{' '.join(words.options)}'; words='{' '.join(words.arguments)}' ;;")
    targets = "|".join(name for name, words in verbs.items() if _takes_targets(name, words))
    return f"""\
_bpflens() {{
    local line=${{COMP_LINE:0:COMP_POINT}} cur prev verb= words= options= targets= i cut
    cur=${{line##*[[:space:]]}}
    line=${{line%"$cur"}}
    read -r -a before <<< "$line"
    prev=${{before[-1]}}
    COMPREPLY=()
    for ((i = 1; i < ${{#before[@]}}; i++)); do
        case ${{before[i]}} in --color) ((i++)) ;; -*) ;; *) verb=${{before[i]}}; break ;; esac
    done
    case "$verb $prev" in
{chr(10).join(values)}
        *' --color') words='auto always never' ;;
    esac
    if [[ -z $words ]]; then
        case $verb in
        '') words='{" ".join(verbs)}'; options='{" ".join(_GLOBAL)}' ;;
{chr(10).join(options)}
        esac
        case $verb in {targets}) targets='{" ".join(PREFIXES)}' ;; esac
    fi
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        return
    fi
    if [[ -n $targets && $cur == *:* ]]; then
        local IFS=$'\\n'
        COMPREPLY=($(bpflens completion targets "$cur" 2>/dev/null | cut -f 1))
        cut=${{cur%"${{cur##*:}}"}}
        [[ $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${{COMPREPLY[@]#"$cut"}}")
    else
        COMPREPLY=($(compgen -W "$words $targets" -- "$cur"))
        [[ -n $targets ]] && COMPREPLY+=($(compgen -f -- "$cur"))
    fi
    [[ ${{COMPREPLY[0]}} == *: || ${{COMPREPLY[0]}} == */ ]] && compopt -o nospace 2>/dev/null
}}
complete -o filenames -F _bpflens bpflens"""


def _zsh(verbs: dict[str, _Words]) -> str:
    heads = " ".join(f"'{verb.name}:{verb.help.replace(chr(39), '')}'" for verb in VERBS)
    values = []
    for name, words in verbs.items():
        values += [f"        '{name} {option}') compadd -- {' '.join(chosen)}; return ;;" for option, chosen in words.values.items()]
    cases = "\n".join(f"        {name}) compadd -- {' '.join((*words.options, *words.arguments))} ;;" for name, words in verbs.items())
    return f"""\
#compdef bpflens
_bpflens() {{
    local -a verbs=({heads}) found
    local verb= i
    for ((i = 2; i < CURRENT; i++)); do
        case $words[i] in --color) ((i++)) ;; -*) ;; *) verb=$words[i]; break ;; esac
    done
    case "$verb $words[CURRENT-1]" in
{chr(10).join(values)}
        *' --color') compadd -- auto always never; return ;;
    esac
    if [[ -z $verb ]]; then
        if [[ $words[CURRENT] == -* ]]; then compadd -- {" ".join(_GLOBAL)}; else _describe verb verbs; fi
        return
    fi
    if [[ $words[CURRENT] == *:* ]]; then
        found=(${{(f)"$(bpflens completion targets $words[CURRENT] 2>/dev/null | cut -f 1)"}})
        compadd -S '' -- ${{(M)found:#*[:/]}}
        compadd -- ${{found:#*[:/]}}
        return
    fi
    case $verb in
{cases}
    esac
    case $verb in help|completion|doctor) return ;; esac
    compadd -S '' -- {" ".join(PREFIXES)}
    _files
}}
_bpflens "$@\""""


def _fish(verbs: dict[str, _Words]) -> str:
    lines = [
        "complete -c bpflens -l color -x -a 'auto always never'",
        *(f"complete -c bpflens -l {option[2:]}" for option in _GLOBAL if option != "--color"),
        "complete -c bpflens -f -n __fish_use_subcommand",
        "complete -c bpflens -f -n '__fish_seen_subcommand_from help completion doctor'",
        "complete -c bpflens -f -n 'string match -qr \"^[a-z]+:\" -- (commandline -ct)'",
    ]
    for verb in VERBS:
        words = verbs[verb.name]
        text = verb.help.replace("'", "")
        inside = f"complete -c bpflens -n '__fish_seen_subcommand_from {verb.name}'"
        lines.append(f"complete -c bpflens -n __fish_use_subcommand -a {verb.name} -d '{text}'")
        for option in words.options:
            chosen = words.values.get(option)
            lines.append(f"{inside} -l {option[2:]}" + (f" -x -a '{' '.join(chosen)}'" if chosen else ""))
        if words.arguments:
            lines.append(f"{inside} -a '{' '.join(words.arguments)}'")
        if _takes_targets(verb.name, words):
            lines.append(f"{inside} -a '{' '.join(PREFIXES)}'")
            lines.append(f"{inside} -a '(bpflens completion targets (commandline -ct) 2>/dev/null)'")
    return "\n".join(lines)
