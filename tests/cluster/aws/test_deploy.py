"""The template for AWS is valid, and allows what the code asks for, and no more."""

import re
from pathlib import Path

import dask_cloudprovider.aws
from tests.cluster.aws.policy import FOLDER, TEMPLATE, Asked, actions, refused, statements

IMPLIED = {
    # What AWS itself asks for, with what the code does.
    "ecs:TagResource": "register_task_definition",
    "iam:PassRole": "run_task",
    "ssm:AddTagsToResource": "put_parameter",
}


def test_the_template_is_valid() -> None:
    """By AWS's own rules for resources and their properties."""
    from cfnlint.api import lint_file

    assert [str(each) for each in lint_file(TEMPLATE)] == []


def test_the_policy_allows_nothing_that_is_not_asked_for() -> None:
    """Each action is a call in the code, or in the library that it goes by.

    That it allows all that is asked for, every test of a cluster on AWS makes sure of at its end.
    """
    files = [
        *(FOLDER / "aws").glob("*.py"),
        *Path(dask_cloudprovider.aws.__file__).parent.glob("*.py"),
    ]
    called = {name for file in files for name in re.findall(r"\b[a-z_]+\b", file.read_text())}
    for statement in statements():
        assert statement["Effect"] == "Allow"
        for action in actions(statement):
            own = re.sub(r"(?<!^)(?=[A-Z])", "_", action.partition(":")[2]).lower()
            assert IMPLIED.get(action, own) in called, action


def test_what_the_policy_does_not_allow_is_seen() -> None:
    """Another action, a parameter of somebody else's, an instance without the cluster's tag."""
    tag = {"ResourceType": "instance", "Tags": [{"Key": "forebay:cluster", "Value": "cloud"}]}
    assert refused(
        [
            Asked("sts:GetCallerIdentity", {}),
            Asked("ec2:DescribeInstances", {}),
            Asked("ec2:DescribeVpcs", {}),
            Asked("ssm:DeleteParameters", {"Names": ["/forebay/cloud/1/tls"]}),
            Asked("ssm:DeleteParameters", {"Names": ["/other/key"]}),
            Asked("ec2:RunInstances", {"TagSpecifications": [tag]}),
        ]
    ) == [
        "ec2:DescribeVpcs is in no statement",
        "ec2:RunInstances without the tag forebay:cluster of the volume",
        "ssm:DeleteParameters of /other/key",
    ]
