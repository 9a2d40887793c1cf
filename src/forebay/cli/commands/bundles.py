"""``forebay runs export``, ``import`` and ``check-bundle``: runs as bundles that stand alone."""

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.commands.runs import RunArgument
from forebay.cli.errors import VerificationError
from forebay.cli.output import print_json, progress, size
from forebay.cli.session import JsonOption, RunsOption, session

BundleArgument = Annotated[
    Path, typer.Argument(help="The bundle: a folder, or a tar file that is not compressed.")
]


def export(
    context: typer.Context,
    run: RunArgument,
    bundle: Annotated[
        Path,
        typer.Argument(help="Folder to be made, or a tar file where the name ends in '.tar'."),
    ],
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a closed run into a bundle (BagIt) that needs nothing beside it."""
    from forebay.tiering.handoff.contents import contents_of
    from forebay.tiering.handoff.exporting import export_run

    contents = contents_of(session(context).location(run, runs))
    with progress("objects") as bars:
        total = len(contents.objects)
        task = bars.add_task(f"exporting {contents.name}", total=total, note="")
        made = export_run(contents, bundle, on_object=lambda _: bars.advance(task))
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{made.path}: run {made.run}, {made.objects} objects, {size(made.bytes)}")


def import_(
    context: typer.Context,
    bundle: BundleArgument,
    root: Annotated[
        Path | None,
        typer.Argument(help="Folder of runs that it goes into; the setting 'runs' if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the run of a bundle into a folder of runs, every byte compared.

    Nothing is seen of it there before all of it is there.  Ends with code 5 and names the file
    where something of the bundle is missing, has changed, or does not belong there.
    """
    from forebay.tiering.handoff.importing import import_run

    folder = session(context).runs(root)
    with progress("objects") as bars:
        task = bars.add_task(f"importing {bundle.name}", total=None, note="")
        made = import_run(bundle, folder, on_object=lambda _: bars.advance(task))
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{made.path}: {made.objects} objects, {size(made.bytes)}: all as committed")


def check_bundle(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Read a bundle through, and tell everything that is wrong with it.

    Ends with code 5 where something is missing, has changed, or does not belong there.
    """
    from forebay.tiering.handoff.importing import check_bundle as problems_of

    problems = problems_of(bundle)
    if as_json:
        print_json({"bundle": str(bundle), "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        if not problems:
            typer.echo(f"{bundle}: complete, and every file is as it was bagged")
    if problems:
        raise VerificationError(
            f"{bundle} has {len(problems)} problem{'s' if problems[1:] else ''}: get it once more "
            "from where it was made"
        )
