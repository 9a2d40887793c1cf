"""``forebay transfer``: send a closed run to another site."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.completion import complete_compressions
from forebay.cli.commands.runs import RunArgument
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, progress, size
from forebay.cli.results import ResultOption, results_of
from forebay.cli.session import JsonOption, ResultsOption, RunsOption, session
from forebay.cli.signals import stop_on_signals
from forebay.cli.sizes import size_given

if TYPE_CHECKING:
    from forebay.acquisition.format.codec import CompressionName
    from forebay.engine.results.bundles import LedgerElsewhere
    from forebay.tiering.handoff.contents import Contents
    from forebay.tiering.handoff.destination import Destination
    from forebay.tiering.handoff.sending import Sendable, Sent


def transfer(
    context: typer.Context,
    run: RunArgument,
    destination_given: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="Folder of runs that it goes into, or 's3://bucket/prefix', 'gs://…' or 'az://…'.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What it is called there; as it is here if not given.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Most that is sent in a second, such as '100 MB'.")
    ] = None,
    streams: Annotated[
        int, typer.Option(min=1, max=64, help="Objects that are sent at a time.")
    ] = 4,
    compression: Annotated[
        str | None,
        typer.Option(
            help="Pack the frames anew for there: none, zstd, blosc-lz4 or blosc-zstd.",
            autocompletion=complete_compressions,
        ),
    ] = None,
    result: ResultOption = None,
    runs: RunsOption = None,
    results: ResultsOption = None,
    ledger_there: Annotated[
        str | None,
        typer.Option(
            help="Path or URL of the ledger, at the place that it goes to, in which results are "
            "entered; 'results/ledger.sqlite' in the folder there if not given.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a closed run to another site: whole, compared there, acknowledged at both ends.

    Nothing is seen of it there before all of it has been read back. A transfer that was
    interrupted goes on when it is given again; one that is done already says so. Results go along
    where they are named, behind the run: '--result "*"' for all of it. With --compression another
    run with the same pixels is made and sent: what a run holds never changes.
    """
    from forebay.tiering.handoff.contents import contents_of
    from forebay.tiering.handoff.destination import destination_at
    from forebay.tiering.handoff.repacking import send_repacked
    from forebay.tiering.handoff.results import destination_of_result
    from forebay.tiering.handoff.sending import Transfer

    call = session(context)
    limit = None if rate is None else size_given("--rate", rate)
    packing = None if compression is None else _compression(compression)
    if packing is not None and result:
        raise OptionError(
            "--result and --compression cannot be given together: results belong to the run that "
            "they were computed from, and what is packed anew is another one"
        )
    contents = contents_of(call.location(run, runs), name=name)
    beside = results_of(call, contents, result or [], results)
    destination = destination_at(destination_given, contents.name)
    ledger = _ledger(destination, contents, ledger_there)
    with (
        stop_on_signals("what is on its way is sent to its end") as stop,
        progress("objects") as bars,
    ):
        total = len(contents.objects) + sum(len(each.objects) for each in beside)
        task = bars.add_task(f"sending {contents.name}", total=total, note="")

        def send(what: "Sendable", to: "Destination" = destination) -> "Sent":
            return Transfer(
                what,
                to,
                contents.own_shelf,
                streams=streams,
                bytes_per_second=limit,
                on_object=lambda _: bars.advance(task),
                stop=stop,
            ).run()

        if packing is None:
            sent = send(contents)
        else:
            sent = send_repacked(contents, destination, packing, call.runs(runs), send=send)
        along = [send(each, destination_of_result(each, destination, ledger)) for each in beside]
    if as_json:
        print_json({**asdict(sent), "results": [asdict(each) for each in along]})
        return
    for each in (sent, *along):
        _tell(each)
    if ledger is not None:
        for entered in beside:
            typer.echo(f"{entered.name}: entered in {ledger.ledger}")


def _ledger(
    destination: "Destination", contents: "Contents", given: str | None
) -> "LedgerElsewhere | None":
    """Return the ledger of the place that a run goes to; None where there is none to enter into."""
    from forebay.engine.execution.wanted import ledger_at
    from forebay.engine.results.bundles import LedgerElsewhere
    from forebay.engine.results.finding import usual_results

    folder = destination.shelf.folder
    if folder is None:
        if given is not None:
            raise OptionError(
                "--ledger-there is for a folder of runs: in an object store results stay with "
                "their run, and are entered where that is sent to from there"
            )
        return None
    results = usual_results(folder, contents.run.name)
    return LedgerElsewhere(ledger_at(given, results), results, contents.run_id, str(folder))


def _tell(sent: "Sent") -> None:
    receipt = sent.receipt
    if sent.state == "there already":
        typer.echo(f"{receipt.target}: there already, whole, since {receipt.done}")
        return
    typer.echo(
        f"{receipt.target}: {receipt.objects} objects, {size(receipt.total_bytes)}, all read back; "
        f"{sent.sent_objects} of them ({size(sent.sent_bytes)}) sent now"
    )


def _compression(given: str) -> "CompressionName":
    from forebay.acquisition.format.codec import Compression

    try:
        return Compression(given).name  # type: ignore[arg-type] # what is none is refused
    except ValueError as error:
        raise OptionError(f"--compression: {error}") from error
