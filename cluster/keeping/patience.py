"""How long a keeper waits for what."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.cluster.model import ElasticModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what is waited for."""

    failed_starts: int = 3
    """Jobs in a row whose workers never came before no more are asked for."""
    most_waiting: int = 16
    """Jobs that wait in the batch system's queue at the most."""
    start_seconds: float = 120.0
    """Time in which the worker of a job that runs has to report."""
    margin_seconds: float = 120.0
    """Time before the end of a job at which it takes no more work."""
    stagger_seconds: float = 30.0
    """Each leaves by up to so much earlier."""
    vanished_seconds: float = 30.0
    """For how long a job may run whose workers have left the scheduler."""


def patience_of(specification: "ElasticModel") -> Patience:
    """Return the patience that a kind of cluster has, by the settings of the same names.

    Examples
    --------
    >>> from forebay.cluster import SlurmClusterSpecification
    >>> slurm = SlurmClusterSpecification(
    ...     maximum_workers=2, memory_limit="1 GiB", margin_seconds=60
    ... )
    >>> patience_of(slurm).margin_seconds, patience_of(slurm).vanished_seconds
    (60.0, 30.0)
    """
    names = {each.name for each in fields(Patience)} & set(type(specification).model_fields)
    return Patience(**{name: getattr(specification, name) for name in names})
