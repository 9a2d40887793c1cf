"""Asking before something is done that costs money."""

import sys

import typer

from forebay.cli.errors import OptionError


def agree(what: str, *, yes: bool) -> None:
    """Say what something costs, and go on only if that is agreed to.

    Parameters
    ----------
    what
        What is to be done, and what it costs.
    yes
        Whether it was agreed to already.

    Raises
    ------
    OptionError
        If it is not, or nobody is there to be asked.
    """
    typer.echo(what, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise OptionError(f"{what}: nobody was there to be asked; give --yes if that is agreed to")
    if not typer.confirm("Go on?", err=True):
        raise OptionError(f"{what}: it was not agreed to, and nothing was asked for")
