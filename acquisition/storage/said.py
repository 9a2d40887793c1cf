"""What an object store says of a request that failed, without what it knows of who asked."""

import os
import re

_BODY = re.compile(r":?\s*(<\?xml|<[A-Z]|\{).*", re.DOTALL)
"""The answer's body, which may repeat a key, a token, or what was signed."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_SECRETS = re.compile(r"(AWS|GOOGLE|AZURE)_\w*(KEY|SECRET|TOKEN|PASSWORD|ACCOUNT_KEY|SAS)\w*")
_LEAST_SECRET = 4

_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
_EXPIRED = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired")


def said_by_store(error: BaseException | None) -> str:
    """Return what an object store says, in one line and without credentials.

    Examples
    --------
    >>> said_by_store(OSError(
    ...     "PUT http://s3/lab - 403 Forbidden: <?xml?><Error><Code>InvalidAccessKeyId</Code>"
    ...     "<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>"))
    'PUT http://s3/lab - 403 Forbidden: InvalidAccessKeyId'
    """
    text = str(error)
    first = _BODY.sub("", text.partition("\n")[0])
    said = ": ".join(each for each in (first, _code(text)) if each)
    for name, value in os.environ.items():
        if _SECRETS.fullmatch(name) and len(value) >= _LEAST_SECRET:
            said = said.replace(value, "***")
    return said


def remedy_for(error: BaseException | None) -> str | None:
    """Return what helps where the store says clearly what is wrong; else None."""
    text = str(error)
    code = _code(text)
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
    return None


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""
