"""The reference page has every setting of every kind of cluster, with its default."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ByteSize, TypeAdapter
from pydantic_core import PydanticUndefined

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.aws.specification import (
    AwsModel,
    Ec2ClusterSpecification,
    FargateClusterSpecification,
)
from forebay.cluster.burst.settings import BurstSettings
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.local.specification import LocalClusterSpecification
from forebay.cluster.local_cuda.specification import LocalCudaClusterSpecification
from forebay.cluster.model import ClusterModel, ElasticModel
from forebay.cluster.paid import PaidModel
from forebay.cluster.slurm.specification import SlurmClusterSpecification
from forebay.cluster.specification import ClusterSpecification

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clusters.md"
TABLES: dict[str, type[BaseModel]] = {
    "## All kinds": ClusterModel,
    "## Kinds whose workers come and go": ElasticModel,
    "## Kinds that cost money by the hour": PaidModel,
    "The table `[clusters.NAME.burst]`": BurstSettings,
    "## `local`": LocalClusterSpecification,
    "## `local-cuda`": LocalCudaClusterSpecification,
    "## `slurm`": SlurmClusterSpecification,
    "## `aws-ec2` and `aws-fargate`": AwsModel,
    "## `aws-ec2`:": Ec2ClusterSpecification,
    "## `aws-fargate`": FargateClusterSpecification,
    "## `kubernetes`": KubernetesClusterSpecification,
    "## `address`": AddressSpecification,
}


def table(heading: str) -> dict[str, str]:
    """Return the settings of the first table after a line, each with its default."""
    _, _, text = PAGE.read_text().partition(f"\n{heading}")
    (found,) = re.findall(r"\A.*?\n\|[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)", text, re.DOTALL)
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in found.splitlines()]
    return {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.parametrize("heading", TABLES)
def test_every_setting_stands_in_its_table(heading: str) -> None:
    """Those of its own, that is; what several kinds have in common stands once."""
    model, shown = TABLES[heading], table(heading)
    known = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", {})}
    assert set(shown) == set(model.model_fields) - known
    for name, told in shown.items():
        default = model.model_fields[name].default
        if default is PydanticUndefined:
            assert told == "", name
        elif isinstance(default, ByteSize):
            assert TypeAdapter(ByteSize).validate_python(told.strip('`"')) == default, name
        elif isinstance(default, bool | int | float):
            assert told in {str(default).lower(), f"{default:g}"}, name
        else:
            assert told, name


def test_every_kind_has_a_table() -> None:
    """One that is new fails here until it is described."""
    union, *_ = get_args(ClusterSpecification)
    assert {*get_args(union)} <= {*TABLES.values()}
