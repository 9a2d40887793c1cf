"""Arguments and options that several commands about jobs have."""

from typing import Annotated

import typer

from forebay.cli.commands.completion import (
    complete_algorithms,
    complete_clusters,
    complete_jobs,
    complete_lanes,
    complete_parameters,
)
from forebay.cli.deadlines import complete_deadlines

AlgorithmArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the algorithm, or name-version; see 'forebay algorithms list'.",
        autocompletion=complete_algorithms,
    ),
]
JobArgument = Annotated[
    int,
    typer.Argument(metavar="JOB", help="Number of the job.", autocompletion=complete_jobs),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of a cluster in the settings, or 'none' to compute in this process.",
        autocompletion=complete_clusters,
    ),
]
LaneOption = Annotated[
    str | None,
    typer.Option(
        metavar="LANE",
        help="realtime, validation or reprocess; reprocess if not given.",
        autocompletion=complete_lanes,
    ),
]
PriorityOption = Annotated[int | None, typer.Option(help="Within the lane, higher first.")]
DeadlineOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="When it should be done: a time (UTC), or a span such as 8h; within a lane and "
        "priority, the nearest goes first.",
        autocompletion=complete_deadlines,
    ),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        help="A parameter of the algorithm; may be repeated.",
        autocompletion=complete_parameters,
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "-l", "--label", metavar="NAME=VALUE", help="To find the job by; may be repeated."
    ),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for its end; Ctrl-C ends the waiting, not the job.")
]
