"""Speaking to AWS: clients, and its refusals in words."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forebay.cluster.errors import BudgetSpentError, ClusterError
from forebay.cluster.keeping.pool import PoolError, PoolSilentError

_WHO = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_FORBIDDEN = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "UnauthorizedException",
}
_NOT_NOW = {
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_CONNECT_SECONDS = 5.0
_LONGEST = 300
"""Characters of what AWS says; behind that there is an encoded message for administrators."""


def need_libraries() -> None:
    """Make sure that what speaks to AWS is installed.

    Raises
    ------
    ClusterError
        If it is not.
    """
    try:
        import aiobotocore
        import dask_cloudprovider.aws  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"clusters on AWS need what the extra 'aws' installs (missing: {error.name}): "
            "pip install 'forebay[aws]'"
        ) from error
    del aiobotocore


def client(service: str, region: str, *, attempts: int = 5, seconds: float = 60.0) -> Any:
    """Return a client of a service of AWS.

    Parameters
    ----------
    service
        What AWS calls it.
    region
        Where it is asked.
    attempts
        How often a question is asked that nobody answers.
    seconds
        Time in which an answer has to come each time.
    """
    from botocore.config import Config
    from botocore.session import get_session

    need_libraries()
    config = Config(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=seconds,
    )
    with asking(f"for {service}"):
        session = get_session()
        share_models(session)
        return session.create_client(service, region_name=region, config=config)


def share_models(session: Any) -> None:
    """Have a session of botocore find the models of services that another one has read.

    To read that of EC2 takes longer than most of what is asked of it.
    """
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))


@functools.cache
def _loader(path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(path)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn a refusal of AWS into an error of ours.

    Parameters
    ----------
    what
        What is asked, as it goes on behind "asking AWS".
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise ClusterError(refusal(error, what)) from error


def code_of(error: BaseException | None) -> str:
    """Return the code of an answer of AWS that is an error; empty for any other exception."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_silence(error: BaseException | None) -> bool:
    """Tell whether AWS did not answer, or not now, rather than refused."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, NoConnection | HTTPClientError | ResponseParserError):
        return True
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return False
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or code_of(error) in _NOT_NOW


def of_a_pool(error: ClusterError) -> PoolError | PoolSilentError:
    """Return the error for the keeper: a refusal counts, silence and a spent budget do not."""
    later = isinstance(error, BudgetSpentError) or is_silence(error.__cause__)
    kind = PoolSilentError if later else PoolError
    return kind(str(error))


def refusal(error: BaseException, what: str) -> str:
    """Say in a sentence what AWS, or the way there, refused, and what to do."""
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError

    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    code = code_of(error)
    match error:
        case known.NoCredentialsError() | known.PartialCredentialsError():
            return (
                "there are no credentials for AWS: name a profile in AWS_PROFILE, or give "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
            )
        case known.ProfileNotFound():
            return f"AWS_PROFILE names a profile that is not configured: {said}"
        case known.EndpointConnectionError() | known.ConnectTimeoutError():
            where = os.environ.get("AWS_ENDPOINT_URL")
            hint = f"AWS_ENDPOINT_URL is {where}" if where else "is the region right?"
            return f"AWS cannot be reached ({said}): {hint}"
        case ResponseParserError():
            where = os.environ.get("AWS_ENDPOINT_URL")
            hint = f"at AWS_ENDPOINT_URL, {where}" if where else "is a proxy between?"
            return f"what answered {what} does not speak as AWS does: {hint}"
    if code in _WHO:
        return f"AWS does not take the credentials ({code}): renew them, or choose another profile"
    if code in _FORBIDDEN:
        return (
            f"the credentials do not allow what was asked, {what} ({said}): cluster/deploy/ has a "
            "policy that does"
        )
    return f"asking AWS {what} failed: {said}"
