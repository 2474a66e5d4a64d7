"""`letta-source completion`: the shell offers what the commands accept."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.command import Command

ASK = """
{script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_letta_source
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("letta-source tr", "transcript"),
        ("letta-source run --resources agent", "agents agent_messages agent_blocks"),
        ("letta-source run --base", "--base-url"),
        ("letta-source verify --re", "--resources --repair"),
        ("letta-source export agents --format sha", "sharegpt"),
        ("letta-source completion f", "fish"),
        # The shell itself offers files.
        ("letta-source export agents --output ''", ""),
    ],
)
def test_bash(letta_source: Command, words: str, offers: str) -> None:
    script = letta_source("completion", "bash").out
    asked = ASK.format(script=script, words=words)
    said = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert (said.stdout.split(), said.stderr) == (offers.split(), "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(letta_source: Command, shell: str) -> None:
    script = letta_source("completion", shell)
    assert (script.code, script.err) == (0, "")
    assert "agent_messages" in script.out
    assert "search-query" in script.out
    if found := shutil.which(shell):
        subprocess.run([found, "-n", "-c", script.out], check=True)


def test_another_shell_is_refused(letta_source: Command) -> None:
    assert letta_source("completion", "tcsh").code == 2
