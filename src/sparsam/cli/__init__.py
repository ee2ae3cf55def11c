"""The `sparsam` command. Each family of subcommands is a module of its own, imported only when it is used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from sparsam import __version__
from sparsam.errors import SparsamError

_COMMANDS = {
    "up": "sparsam.cli.up:up",
    "down": "sparsam.cli.up:down",
    "status": "sparsam.cli.status:status",
    "kubeconfig": "sparsam.cli.status:kubeconfig",
    "top": "sparsam.cli.top:top",
    "schedule": "sparsam.cli.schedule:schedule",
    "explain": "sparsam.cli.explain:explain",
    "meter": "sparsam.cli.meter:meter",
    "calibrate": "sparsam.cli.calibrate:calibrate",
    "models": "sparsam.cli.models:models",
    "sim": "sparsam.cli.sim:sim",
    "assess": "sparsam.cli.assess:assess_command",
    "node": "sparsam.cli.node:node",
    "images": "sparsam.cli.images:images",
    "serve": "sparsam.cli.serve:serve",
}


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is called, so that start-up stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command behind a name, or None."""
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: Any = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sparsam")
def sparsam() -> None:
    """A container orchestrator that speaks Kubernetes and spends only the watts that the work needs.

    \b
    Examples:
      sparsam up                   one node on this machine
      sparsam up --nodes 3         three real nodes on this machine
      sparsam top pods             CPU, memory and watts, live
      sparsam down --purge         leave the machine as it was
    """


def main() -> None:
    """Run the command; an expected error is one line and a non-zero exit, never a traceback."""
    try:
        sparsam(prog_name="sparsam")
    except SparsamError as error:
        click.echo(f"sparsam: {error}", err=True)
        sys.exit(1)
