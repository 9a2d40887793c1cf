"""What an object store says of a request that failed, without what it knows of who asked."""

import os
import re

_BODY = re.compile(r":?\s*(<\?xml|<[A-Z]|\{).*", re.DOTALL)
"""The answer's body, which may repeat a key, a token, or what was signed."""
_REQUEST = re.compile(
    r".*?Error performing (?P<method>[A-Z]+) (?P<server>\w+://[^/\s]+)\S* in [^\s,]+"
    r"(?:, after (?P<retries>\d+) retries\b[^-]*)? - "
    r"(?:Server returned non-2xx status code: )?(?P<rest>.*)"
)
"""A request that failed; of what it was for, whoever asked tells already."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_SECRETS = re.compile(r"(AWS|GOOGLE|AZURE)_\w*(KEY|SECRET|TOKEN|PASSWORD|ACCOUNT_KEY|SAS)\w*")
_LEAST_SECRET = 4

_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
_NO_PATH = "object with invalid path"
"""What is said of a list with a name in it such as a//b or a/../b."""
_INSTANCE = "://169.254.169.254/"
"""Where a machine of AWS finds its own credentials; asked when there are no others."""
_REFUSED = re.compile(r"non-2xx status code: 4(?!08|25|29)\d\d\b")
"""An answer by which asking again changes nothing: not that it took too long, or came too often."""
_EXPIRED = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired")


def said_by_store(error: BaseException | None) -> str:
    """Return what an object store says, in one line and without credentials.

    Examples
    --------
    >>> said_by_store(OSError(
    ...     "PUT http://s3/lab - 403 Forbidden: <?xml?><Error><Code>InvalidAccessKeyId</Code>"
    ...     "<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>"))
    'PUT http://s3/lab - 403 Forbidden: InvalidAccessKeyId'
    >>> said_by_store(OSError(
    ...     "Generic S3 error: Error performing GET http://s3:80/lab/a?x=1 in 7.5ms, after 4 retries,"
    ...     " max_retries: 4, retry_timeout: 30s - HTTP error: error sending request"))
    'GET http://s3:80, 4 times more: HTTP error: error sending request'
    """
    text = str(error)
    first = _REQUEST.sub(_request, _BODY.sub("", text.partition("\n")[0]))
    said = ": ".join(each for each in (first, _code(text)) if each)
    for name, value in os.environ.items():
        if _SECRETS.fullmatch(name) and len(value) >= _LEAST_SECRET:
            said = said.replace(value, "***")
    return said


def remedy_for(error: BaseException | None) -> str | None:
    """Return what helps where the store says clearly what is wrong; else None."""
    text = str(error)
    code = _code(text)
    if _INSTANCE in text:
        return (
            "there are no credentials in the environment; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or check its name and the endpoint"
    if code in _ELSEWHERE or "incorrectly configured region" in text:
        region = _REGION.search(text)
        where = f", {region[1]}" if region else ""
        return f"the bucket is in another region{where}; let AWS_REGION name that one"
    if code in _EXPIRED:
        return "the credentials in the environment have expired; get new ones"
    if code in _WRONG_KEYS:
        return "the credentials in the environment are wrong; check them"
    if _NO_PATH in text:
        return "somebody has put an object there by a name that is no path; rename it, or delete it"
    return None


def may_be_asked_again(error: BaseException | None) -> bool:
    """Tell whether a request that failed may be answered later: no answer came, or an excuse.

    Examples
    --------
    >>> [may_be_asked_again(OSError(f"Error performing PUT http://s3/a in 1s - {said}")) for said in (
    ...     "HTTP error: error sending request",
    ...     "Server returned non-2xx status code: 503 Service Unavailable: <Error/>",
    ...     "Server returned non-2xx status code: 400 Bad Request: <Error/>")]
    [True, True, False]
    """
    return remedy_for(error) is None and _REFUSED.search(str(error)) is None


def _request(found: re.Match[str]) -> str:
    again = f", {found['retries']} times more" if found["retries"] else ""
    return f"{found['method']} {found['server']}{again}: {found['rest']}"


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""
