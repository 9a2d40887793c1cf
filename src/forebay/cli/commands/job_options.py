"""Arguments and options that several commands about jobs have."""

from typing import Annotated

import typer

from forebay.cli.commands.completion import complete_algorithms, complete_jobs

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
LaneOption = Annotated[
    str | None, typer.Option(help="realtime, validation or reprocess; reprocess if not given.")
]
PriorityOption = Annotated[int | None, typer.Option(help="Within the lane, higher first.")]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="May be repeated."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("-l", "--label", metavar="NAME=VALUE", help="May be repeated."),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for its end; Ctrl-C ends the waiting, not the job.")
]
