"""What of a run has to be recalled before it can be read, as the signposts at its home say."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import LocalStore

from forebay.tiering.archive.archive import Archive
from forebay.tiering.archive.recall import Recall
from forebay.tiering.connect import connect
from forebay.tiering.reading.signpost import SIGNPOST, Place, Signpost
from forebay.tiering.reading.signposts import Signposts


@dataclass(frozen=True, slots=True)
class ArchivedObjects:
    """Objects of a run that lie in one archive alone."""

    tier: str
    """Name of the tier."""
    recall: Recall
    """The objects, and what it takes to have them back."""


def archived_objects(location: str | Path, keys: Iterable[str]) -> list[ArchivedObjects]:
    """Return which objects of a run lie in archives alone.

    No catalogue is needed, and no archive is asked anything.

    Parameters
    ----------
    location
        The folder of the run, or its URL.
    keys
        The objects that are to be read, in the order in which they are needed: they are asked for
        in that order.  They are not looked at where the run was never moved into an archive.

    Raises
    ------
    RunDamagedError
        If a signpost is none.
    PlaceUnavailableError
        If the run's bucket does not answer, or not to us.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     archived_objects(Path(folder), ["frames/c.0.0.0"])
    []
    """
    return sync(_archived(_home_at(location), keys))


def _home_at(location: str | Path) -> Store:
    if "://" not in str(location):
        return LocalStore(location, read_only=True)
    # obstore takes a tenth of a second to import, and most runs lie in a folder.
    from forebay.tiering.url_store import UrlStore

    return UrlStore(connect(str(location)), url=str(location))


async def _archived(home: Store, keys: Iterable[str]) -> list[ArchivedObjects]:
    posts = Signposts(home, SIGNPOST)
    await posts.look()
    if not any(_only_archive(post) for post in await posts.all()):
        return []
    found: dict[str, tuple[Place, dict[str, int]]] = {}
    for key in dict.fromkeys(keys):
        post = await posts.of(key)
        place = None if post is None else _only_archive(post)
        if post is None or place is None or key not in post.objects or key in post.documents:
            continue
        if await _is_at_home(home, key, post):
            continue
        _, names = found.setdefault(place.url, (place, {}))
        name = place.stored_as(key)
        if name not in names:
            names[name] = _length(post, place, name)
    return [
        ArchivedObjects(place.tier, Recall(Archive(place.url, place.recall), names))
        for place, names in found.values()
        if place.recall is not None
    ]


def _only_archive(post: Signpost) -> Place | None:
    """Return the archive that copies are recalled from; None where one is read at once."""
    if any(each.recall is None for each in post.places):
        return None
    return next(iter(post.places), None)


def _length(post: Signpost, place: Place, name: str) -> int:
    """Return the length of what lies in an archive under a name: a pack comes as a whole."""
    keys = place.packs.get(name, (name,))
    return sum(post.objects[key].bytes for key in keys)


async def _is_at_home(home: Store, key: str, post: Signpost) -> bool:
    if post.left:
        return False
    try:
        return await home.getsize(key) == post.objects[key].bytes
    except FileNotFoundError:
        return False
