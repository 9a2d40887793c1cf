"""Object lock of S3: what lies in a tier, and may not be deleted before its time is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from forebay.tiering.errors import CopyDamagedError, LockedError
from forebay.tiering.storage.s3 import S3Place


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """The locks of the objects of a copy.

    S3 deletes what is locked for nobody, or for those only who may bypass it.  It takes a request
    to delete the current version all the same, and hides that behind a marker: so it is asked first
    whether an object is locked.

    Notes
    -----
    "Locking objects with Object Lock", Amazon S3 User Guide.
    """

    place: S3Place
    """Where they are."""
    days: int
    """For how long they are locked from when they were read back."""
    mode: str
    """``governance`` or ``compliance``."""
    now: Callable[[], datetime] = field(default=_now, repr=False, compare=False)
    """Gives the time."""

    def lock(self, name: str) -> None:
        """Lock an object.

        Raises
        ------
        CopyDamagedError
            If there is none.
        PlaceUnavailableError
            If the bucket does not answer, or has no object lock.
        """
        until = self.now() + timedelta(days=self.days)
        with self.place.translated(name, done="locked"):
            self.place.client.put_object_retention(
                Bucket=self.place.bucket,
                Key=self.place.key(name),
                Retention={"Mode": self.mode.upper(), "RetainUntilDate": until},
            )

    def check(self) -> None:
        """Look whether the bucket has object lock at all.

        Raises
        ------
        PlaceUnavailableError
            If it does not answer, or has none.
        """
        with self.place.translated("", done="locked"):
            self.place.client.get_object_lock_configuration(Bucket=self.place.bucket)

    def refuse_locked(self, name: str) -> None:
        """Refuse to delete an object that is locked.

        Raises
        ------
        LockedError
            If it is.
        """
        try:
            told = self.place.head(name)
        except CopyDamagedError:
            # It has gone already.
            return
        until = told.get("ObjectLockRetainUntilDate")
        if told.get("ObjectLockLegalHoldStatus") == "ON":
            raise LockedError(
                f"{self.place.url}/{name} is under a legal hold of its bucket: nothing is deleted "
                "there before that is ended"
            )
        if until is not None and until > self.now():
            raise LockedError(
                f"{self.place.url}/{name} is locked until {until.astimezone(UTC):%Y-%m-%d %H:%M} "
                "UTC: nothing is deleted there before"
            )
