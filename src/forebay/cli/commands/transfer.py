"""``forebay transfer``: send a closed run to another site."""

from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.runs import RunArgument
from forebay.cli.commands.scrub import rate_of
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, progress, size
from forebay.cli.session import JsonOption, RunsOption, session
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from forebay.acquisition.format.codec import CompressionName
    from forebay.tiering.handoff.contents import Contents
    from forebay.tiering.handoff.sending import Sent


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
        ),
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a closed run to another site: whole, compared there, acknowledged at both ends.

    Nothing is seen of it there before all of it has been read back.  A transfer that was
    interrupted goes on when it is given again; one that is done already says so.  With
    --compression another run with the same pixels is made and sent: what a run holds never
    changes.
    """
    from forebay.tiering.handoff.contents import contents_of
    from forebay.tiering.handoff.destination import destination_at
    from forebay.tiering.handoff.repacking import send_repacked
    from forebay.tiering.handoff.sending import Transfer

    call = session(context)
    limit = None if rate is None else rate_of(rate)
    packing = None if compression is None else _compression(compression)
    contents = contents_of(call.location(run, runs), name=name)
    destination = destination_at(destination_given, contents.name)
    with (
        stop_on_signals("what is on its way is sent to its end") as stop,
        progress("objects") as bars,
    ):
        total = len(contents.objects)
        task = bars.add_task(f"sending {contents.name}", total=total, note="")

        def send(what: "Contents") -> "Sent":
            return Transfer(
                what,
                destination,
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
    if as_json:
        print_json(sent)
        return
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
