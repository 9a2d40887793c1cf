"""How an S3 bucket is asked to encrypt what is put there."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Encryption:
    """Encryption by the server, with keys that it keeps.

    Notes
    -----
    "Protecting data with server-side encryption", Amazon S3 User Guide.
    """

    algorithm: str
    """``AES256``, or ``aws:kms`` for keys of AWS's key service."""
    key: str | None = None
    """Which key of that service; the account's own one if not given."""

    def for_puts(self) -> dict[str, Any]:
        """Return the settings of a connection that puts objects.

        Examples
        --------
        >>> Encryption("aws:kms", "alias/laboratory").for_puts()
        {'aws_server_side_encryption': 'aws:kms', 'aws_sse_kms_key_id': 'alias/laboratory'}
        """
        given = {"aws_server_side_encryption": self.algorithm}
        return given if self.key is None else {**given, "aws_sse_kms_key_id": self.key}

    def for_copies(self) -> dict[str, Any]:
        """Return what a request to copy an object within the bucket has to say.

        Examples
        --------
        >>> Encryption("AES256").for_copies()
        {'ServerSideEncryption': 'AES256'}
        """
        given = {"ServerSideEncryption": self.algorithm}
        return given if self.key is None else {**given, "SSEKMSKeyId": self.key}
