"""``leulo completion``: each shell runs its script and is asked what it would offer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leulo import cli


def complete(*words: str) -> list[str]:
    """What the program offers bash after ``words``, the last of them begun."""
    return [line.partition(",")[2] for line in answer(*words)]


def answer(*words: str) -> list[str]:
    """The lines for the shell: ``kind,word``."""
    result = subprocess.run(
        [sys.executable, "-c", "from leulo.cli import main; main()"],
        env={"_LEULO_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("leulo", *words)),
             "COMP_CWORD": str(len(words))},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_folders_are_offered_where_only_they_will_do() -> None:
    assert answer("boot", "--www", "s") == ["dir,s"]
    assert answer("boot", "--pcap", "s") == ["file,s"]


def test_verbs_flags_and_values_are_completed() -> None:
    assert complete("mach") == ["machine"]
    assert "--host-loopback" in complete("boot", "--ho")
    assert complete("boot", "--clock", "v") == ["virtual"]
    assert complete("boot", "--set", "me") == ["mem="]
    assert complete("boot", "--mode", "") == ["paravirt"], "only what runs is offered"
    assert complete("boot", "--log", "sim.") == ["sim.finished", "sim.request"]
    assert complete("boot", "--log", "l") == ["list"]


# Each drives its own shell: the script is read as its help says, then LINE is completed.
_BASH = """
eval "$(leulo completion bash)"
read -ra COMP_WORDS <<< "$LINE"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_leulo_completion leulo
printf 'offer %s\\n' "${COMPREPLY[@]}"
"""
_FISH = """
leulo completion fish > $HOME/leulo.fish
source $HOME/leulo.fish
complete --do-complete $LINE | string replace --regex '^' 'offer '
"""
# zsh completes in its line editor alone, so a second zsh is given a terminal, the Tab key, and a
# key that tells what the line has become.
_ZSH = r"""
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'autoload -U compinit; compinit -D -u; eval "$(leulo completion zsh)"'
zpty -w inner 'tell() { print -r -- "offer ${${BUFFER% }##* }" > $HOME/told }; zle -N tell'
zpty -w inner 'bindkey "^X" tell; print re""ady'
zpty -r inner seen '*ready*'
zpty -w -n inner "$LINE"$'\t\C-x'
for i in {1..200}; do [[ -s $HOME/told ]] && break; zpty -r -t inner seen; sleep 0.05; done
cat $HOME/told
zpty -d inner
"""


@pytest.mark.parametrize(("shell", "script"), [("bash", _BASH), ("fish", _FISH), ("zsh", _ZSH)])
@pytest.mark.parametrize(
    ("line", "offer"),
    [("leulo mach", "machine"), ("leulo boot --host-l", "--host-loopback"),
     ("leulo boot --clock v", "virtual")],
)  # fmt: skip
def test_the_shell_itself_completes(
    shell: str, script: str, line: str, offer: str, tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not here")
    leulo = tmp_path / "leulo"
    leulo.write_text(f"#!{sys.executable}\nfrom leulo.cli import main\nmain()\n")
    leulo.chmod(0o755)
    environment = {
        **os.environ, "HOME": str(tmp_path), "LINE": line, "TERM": "dumb",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        [program, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    offers = [
        text.removeprefix("offer ").split("\t")[0].strip()
        for text in done.stdout.splitlines()
        if text.startswith("offer ")
    ]
    assert offer in offers, (done.stdout, done.stderr)
    assert all(each.startswith(line.split()[-1]) for each in offers), offers


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", "csh"]) == 2
    assert "csh" in capsys.readouterr().err
