"""``forebay runs export``, ``import`` and ``check-bundle``: runs as bundles that stand alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.runs import RunArgument
from forebay.cli.errors import VerificationError
from forebay.cli.output import print_json, progress, size
from forebay.cli.results import ResultOption, results_of
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    ResultsOption,
    RunsOption,
    SharedResultsOption,
    session,
)

if TYPE_CHECKING:
    from forebay.tiering.handoff.exporting import Bundled

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
    result: ResultOption = None,
    runs: RunsOption = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a closed run into a bundle (BagIt) that needs nothing beside it.

    Results go along where they are named: '--result "*"' for all of the run.
    """
    from forebay.engine.results.bundles import files_of
    from forebay.tiering.handoff.contents import contents_of
    from forebay.tiering.handoff.exporting import export_run

    call = session(context)
    contents = contents_of(call.location(run, runs))
    beside = {
        name: read
        for each in results_of(call, contents, result or [], results)
        for name, read in files_of(each).items()
    }
    with progress("objects") as bars:
        total = len(contents.objects) + len(beside)
        task = bars.add_task(f"exporting {contents.name}", total=total, note="")
        made = export_run(contents, bundle, results=beside, on_object=lambda _: bars.advance(task))
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
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the run of a bundle into a folder of runs, every byte compared.

    Nothing is seen of it there before all of it is there. Results that the bundle holds are put
    among the others and entered in the ledger; what is there already stays. Ends with code 5 and
    names the file where something of the bundle is missing, has changed, or does not belong there.
    """
    from forebay.tiering.handoff.importing import import_run

    call = session(context)
    folder = call.runs(root)
    entered: list[Path] = []

    def take(made: "Bundled", files: "Mapping[str, Callable[[], Iterator[bytes]]]") -> None:
        from forebay.engine.queue.database import Database
        from forebay.engine.results.bundles import take_in_bundled

        with Database(call.ledger(ledger, results, root)) as database:
            entered.extend(
                take_in_bundled(
                    files,
                    where=str(bundle),
                    run_id=made.run_id,
                    run=made.path,
                    results=call.shared_results(results, root),
                    ledger=database,
                )
            )

    with progress("objects") as bars:
        task = bars.add_task(f"importing {bundle.name}", total=None, note="")
        made = import_run(bundle, folder, take_results=take, on_object=lambda _: bars.advance(task))
    if as_json:
        print_json({**asdict(made), "results": [str(each) for each in entered]})
    else:
        typer.echo(f"{made.path}: {made.objects} objects, {size(made.bytes)}: all as committed")
        for each in entered:
            typer.echo(f"{each}: entered in the ledger")


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
