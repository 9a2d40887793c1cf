"""``forebay cameras``: the GigE Vision cameras on the network."""

import typer

from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption


def cameras(as_json: JsonOption = False) -> None:
    """List the GigE Vision cameras that answer on the network.

    It asks by a broadcast on every network interface; a camera is then named by its address, its
    id or its serial number, as in 'forebay acquire camera:192.168.7.20 RUN'.
    """
    from dataclasses import asdict

    from forebay.acquisition.sources.genicam import discovery

    found = [asdict(camera) for camera in discovery.cameras()]
    if as_json:
        for each in found:
            print_json(each)
        return
    if not found:
        typer.echo(
            "no camera answers; check power, cable and network, and that they share a subnet"
        )
        return
    names = tuple(found[0])
    print_table(names, [tuple(each.values()) for each in found])
