"""``leulo completion``: the script that teaches a shell the verbs, flags and their values."""

from __future__ import annotations

import click

_EXAMPLES = """\b
Examples:
  eval "$(leulo completion bash)"                       in ~/.bashrc
  eval "$(leulo completion zsh)"                        in ~/.zshrc
  leulo completion fish > ~/.config/fish/completions/leulo.fish
"""


@click.command("completion", epilog=_EXAMPLES, short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that lets SHELL complete verbs, flags and values."""
    from click.shell_completion import get_completion_class

    from leulo.cli import group

    kind = get_completion_class(shell)
    assert kind is not None
    source = kind(group, {}, "leulo", "_LEULO_COMPLETE")
    click.echo(source.source_template % source.source_vars())
