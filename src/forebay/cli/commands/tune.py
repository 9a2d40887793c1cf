"""``forebay tune``: what makes this machine fit for what it is to do, and taking that back."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.errors import OptionError
from forebay.cli.machine import RoleOption, RootOption, purpose
from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.cluster.node.tuning.apply import Changes
    from forebay.cluster.node.tuning.plan import Plan


def tune(
    context: typer.Context,
    role: RoleOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to write to, a new one; tune-ROLE if not given."),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Put the files into the system, and set what can be at once."),
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Bring back what was there before --apply.")
    ] = False,
    root: RootOption = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """Write files that make this machine fit for its role, each line with its reason.

    They are written into a folder. With --apply they are put into the system instead; what they
    replace is kept, and --undo brings it back. The code is 6 if the running system did not take a
    value, 4 if somebody has changed since what is to be undone.
    """
    if undo:
        if apply or role or to:
            raise OptionError("--undo goes alone, or with --root")
        _undo(root, as_json=as_json)
        return
    if apply and to:
        raise OptionError("--apply writes into the system: leave --to out, or call it twice")
    from forebay.cluster.node.machine import Machine
    from forebay.cluster.node.tuning.apply import values_before
    from forebay.cluster.node.tuning.files import plan_for
    from forebay.cluster.node.tuning.folder import write_folder

    what_for = purpose(session(context).settings, role)
    plan = plan_for(Machine(root), what_for, values_before(root))
    if apply:
        _apply(plan, root, as_json=as_json)
        return
    target = to or Path(f"tune-{what_for.role}")
    write_folder(plan, target)
    if as_json:
        for file in plan.files:
            print_json({"path": file.path, "content": file.content, "effect": file.effect})
        return
    _print_files(plan)
    typer.echo(f"{target} holds them, and says in README.md what each line is for")


def _apply(plan: "Plan", root: Path, *, as_json: bool) -> None:
    from forebay.cluster.node.tuning.apply import apply

    changes = apply(plan, root)
    if as_json:
        print_json(changes)
    else:
        _print_files(plan)
        _tell(changes)
        here = "" if root == Path("/") else f" --root {shlex.quote(str(root))}"
        typer.echo(f"undo it with 'forebay tune{here} --undo'")
    _end(changes)


def _undo(root: Path, *, as_json: bool) -> None:
    from forebay.cluster.node.tuning.apply import undo

    changes = undo(root)
    if as_json:
        print_json(changes)
    else:
        for path in changes.files:
            typer.echo(f"/{path} is as it was")
        _tell(changes)
        typer.echo("limits, the kernel's command line and modules are so after a restart")
    _end(changes)


def _print_files(plan: "Plan") -> None:
    print_table(
        ("file", "lines", "in force after"),
        [(f"/{file.path}", len(file.lines), file.effect) for file in plan.files],
    )
    for note in plan.notes:
        typer.echo(f"left out: {note}")


def _tell(changes: "Changes") -> None:
    for value in changes.live:
        typer.echo(f"set at once: /{value}")
    for reason in (*changes.refused, *changes.left):
        typer.echo(f"not done: {reason}", err=True)


def _end(changes: "Changes") -> None:
    if changes.left:
        raise typer.Exit(ExitCode.CONFLICT)
    if changes.refused:
        raise typer.Exit(ExitCode.INCOMPLETE)
