"""``forebay doctor``: what is wrong with this machine for what it is to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.machine import RoleOption, RootOption, as_row, purpose, services
from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.cluster.node.verdict import Finding, Verdict


def doctor(
    context: typer.Context,
    role: RoleOption = None,
    root: RootOption = Path("/"),
    connect: Annotated[
        bool,
        typer.Option(
            "--connect/--no-connect",
            help="Whether to see if the services answer that the configuration names.",
        ),
    ] = True,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with code 6 also for what could be better."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Examine this machine for its role: what is wrong, why it matters, how to mend it.

    Nothing is changed, and nothing is connected to that the configuration does not name. The code
    is 6 if something is wrong, 0 if not.
    """
    from forebay.cluster.node.doctor import count, examine
    from forebay.cluster.node.machine import Machine
    from forebay.cluster.node.verdict import Verdict

    settings = session(context).settings
    what_for = purpose(settings, role)
    named = services(settings) if connect else ()
    findings = list(examine(Machine(root), what_for, named))
    counted = count(findings)
    if as_json:
        for finding in findings:
            print_json(finding)
        print_json({"role": what_for.role, **counted})
    else:
        _tell(findings, counted, what_for.role)
    bad = {Verdict.WRONG, Verdict.BETTER} if strict else {Verdict.WRONG}
    if any(counted[each] for each in bad):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _tell(findings: "list[Finding]", counted: "dict[Verdict, int]", role: str) -> None:
    print_table(
        ("verdict", "what", "of", "found", "wanted"),
        [
            (each.verdict, each.check, as_row(each.subject), each.found, as_row(each.wanted))
            for each in findings
        ],
    )
    told: dict[tuple[str, str, str], list[str]] = {}
    for each in findings:
        # Of what cannot be told, the reason stands in the table.
        if each.verdict in {"could be better", "wrong"}:
            key = (f"{each.verdict}: {each.check}", each.why, each.mend)
            told.setdefault(key, []).append(each.subject)
    for (title, why, mend), subjects in told.items():
        of = ", ".join(filter(None, subjects))
        typer.echo(f"{title}{f' ({of})' if of else ''}\n  why: {why}\n  mend: {mend}\n")
    typer.echo(f"as a machine for {role}: {', '.join(f'{n} {v}' for v, n in counted.items())}")
