"""``forebay transfer``: send a closed run to another site."""

from typing import Annotated

import typer

from forebay.cli.commands.runs import RunArgument
from forebay.cli.commands.scrub import rate_of
from forebay.cli.output import print_json, progress, size
from forebay.cli.session import JsonOption, RunsOption, session
from forebay.cli.signals import stop_on_signals


def transfer(
    context: typer.Context,
    run: RunArgument,
    destination: Annotated[
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
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a closed run to another site: whole, compared there, acknowledged at both ends.

    Nothing is seen of it there before all of it has been read back.  A transfer that was
    interrupted goes on when it is given again; one that is done already says so.
    """
    from forebay.tiering.handoff.contents import contents_of
    from forebay.tiering.handoff.destination import destination_at
    from forebay.tiering.handoff.sending import Transfer

    limit = None if rate is None else rate_of(rate)
    contents = contents_of(session(context).location(run, runs), name=name)
    with (
        stop_on_signals("what is on its way is sent to its end") as stop,
        progress("objects") as bars,
    ):
        total = len(contents.objects)
        task = bars.add_task(f"sending {contents.name}", total=total, note="")
        sent = Transfer(
            contents,
            destination_at(destination, contents.name),
            contents.own_shelf,
            streams=streams,
            bytes_per_second=limit,
            on_object=lambda _: bars.advance(task),
            stop=stop,
        ).run()
    if as_json:
        print_json(sent)
        return
    receipt = sent.receipt
    if sent.state == "there already":
        typer.echo(f"{receipt.target}: there already, whole, since {receipt.done}")
        return
    typer.echo(
        f"{receipt.target}: {receipt.objects} objects, {size(receipt.bytes)}, all read back; "
        f"{sent.sent_objects} of them ({size(sent.sent_bytes)}) sent now"
    )
