"""``forebay cluster status``: the workers of a cluster that runs, and whether they are fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from forebay.cli.commands.cluster import NameArgument, joined_to, record_of, specification_of
from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session

if TYPE_CHECKING:
    from distributed import Client

    from forebay.cluster import ClusterSpecification

_RUNNING = "running"


def status(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show the workers of a cluster that is kept running, or that is joined by its address.

    One that is not fit for work is given nothing more, and why stands beside it.
    """
    from forebay.cluster.health.watch import workers_of

    specification = specification_of(session(context), name)
    with _joined(specification, name) as client:
        workers = [_described(each) for each in workers_of(client)]
    if as_json:
        for each in workers:
            print_json(each)
        return
    rows = [
        (
            each["name"],
            each["address"],
            each["threads"],
            f"{each['memory'] / 2**30:.3g}" if each["memory"] else "-",
            each["units"],
            f"{each['heard_seconds_ago']:.0f}",
            each["complaint"] or each["state"],
        )
        for each in workers
    ]
    head = ("worker", "address", "threads", "memory, GiB", "tasks", "heard of, s ago", "state")
    print_table(head, rows)


def _described(worker: dict[str, Any]) -> dict[str, Any]:
    from forebay.cluster.health.watch import complaint_of

    why = worker["held"] or complaint_of(worker, silence=worker["silence"])
    state = "takes work" if worker["status"] == _RUNNING else "takes no more work"
    return {
        "name": worker["name"],
        "address": worker["address"],
        "threads": worker["threads"],
        "memory": worker["memory"],
        "units": worker["processing"],
        "heard_seconds_ago": worker["silence"],
        "state": state,
        "complaint": why,
    }


@contextmanager
def _joined(specification: "ClusterSpecification", name: str) -> "Iterator[Client]":
    """Join a cluster that runs, only to look.

    Raises
    ------
    ClusterError
        If none can be joined.
    """
    from forebay.cluster import AddressSpecification, ClusterError
    from forebay.cluster.address.start import join
    from forebay.cluster.keeping.place import standing_place
    from forebay.cluster.start import quiet

    if isinstance(specification, AddressSpecification):
        with quiet(), join(specification) as client:
            yield client
        return
    record = record_of(specification, name)
    if record is None or specification.place is None:
        how = (
            "its workers belong to the command that uses it, which tells of them in its log"
            if specification.place is None
            else f"'forebay cluster start {name}' starts it"
        )
        raise ClusterError(f"no cluster {name} of kind {specification.kind} is kept running: {how}")
    with joined_to(standing_place(specification.place, name), record) as client:
        yield client
