"""`letta-source completion`: completes commands, options and names in a shell."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from letta_source.cli.arguments import add_command
from letta_source.errors import ExitCode

_HOW = """\
in bash:  source <(letta-source completion bash)
in zsh:   source <(letta-source completion zsh)
in fish:  letta-source completion fish | source

Put the line that fits your shell into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
"""
_BASH = """\
_letta_source() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words={commands}
    else
        case "${{COMP_WORDS[1]}} $prev" in
{values}
        *) case "${{COMP_WORDS[1]}}" in
{options}
            esac
            # A word that is not an option may be a file.
            case "$cur" in -*) ;; *) words="" ;; esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _letta_source letta-source
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "print a script that completes commands and options in a shell"
    command = add_command(commands, "completion", completion, summary, _HOW)
    command.add_argument("shell", choices=("bash", "zsh", "fish"))


def completion(options: argparse.Namespace) -> int:
    """Print a script for the shell."""
    from letta_source.cli.app import make_parser

    commands = _commands(make_parser())
    if options.shell == "fish":
        print("\n".join(_fish(commands)))
    else:
        head = _ZSH if options.shell == "zsh" else ""
        print(head + _bash(commands), end="")
    return ExitCode.OK


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    return found


def _values(action: argparse.Action) -> list[str]:
    """Return the values that an option takes, if they are a fixed few."""
    if action.dest == "resources":
        from letta_source.schema.resources import RESOURCES

        return list(RESOURCES)
    return [str(one) for one in action.choices or ()]


def _options(command: argparse.ArgumentParser) -> list[str]:
    return [name for action in command._actions for name in action.option_strings if name.startswith("--")]


def _bash(commands: dict[str, argparse.ArgumentParser]) -> str:
    values = [
        f"        {shlex.quote(f'{name} {option}')}) words={shlex.quote(' '.join(_values(action)))} ;;"
        for name, command in commands.items()
        for action in command._actions
        for option in action.option_strings or (name,)
        if _values(action)
    ]
    options = [
        f"            {name}) words={shlex.quote(' '.join(_options(command)))} ;;"
        for name, command in commands.items()
    ]
    return _BASH.format(
        commands=shlex.quote(" ".join(commands)), values="\n".join(values), options="\n".join(options)
    )


def _fish(commands: dict[str, argparse.ArgumentParser]) -> Iterator[str]:
    known = " ".join(commands)
    yield f"complete -c letta-source -n 'not __fish_seen_subcommand_from {known}' -f -a '{known}'"
    for name, command in commands.items():
        within = f"complete -c letta-source -n '__fish_seen_subcommand_from {name}'"
        for action in command._actions:
            takes = f" -x -a {shlex.quote(' '.join(_values(action)))}" if _values(action) else ""
            for option in action.option_strings:
                if option.startswith("--"):
                    summary = shlex.quote((action.help or "").replace("%%", "%"))
                    yield f"{within} -l {option[2:]}{takes} -d {summary}"
            if not action.option_strings and takes:
                yield f"{within}{takes}"
