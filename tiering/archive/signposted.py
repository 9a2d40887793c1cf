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
class ArchivedObject:
    """What lies in one archive alone: an object of a run, or a pack of several."""

    tier: str
    """Name of the tier."""
    archive: Archive
    """The archive."""
    name: str
    """Its name there."""
    bytes: int
    """Its length."""


def lies_in_archive(location: str | Path) -> bool:
    """Tell whether anything of a run lies in archives alone, by the signposts at its home.

    Raises
    ------
    RunDamagedError
        If a signpost is none.
    """
    return sync(_in_archive(Signposts(_home_at(location), SIGNPOST)))


def archived_objects(location: str | Path, keys: Iterable[str]) -> dict[str, ArchivedObject]:
    """Return which objects of a run lie in archives alone, and in what.

    No catalogue is needed, and no archive is asked anything.

    Parameters
    ----------
    location
        The folder of the run, or its URL.
    keys
        The objects that are to be read.  They are not looked at where the run was never moved
        into an archive.

    Returns
    -------
    dict
        By the key of the object; those that are in one pack have the same.

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
    {}
    """
    return sync(_archived(_home_at(location), keys))


def recalls_of(objects: Iterable[ArchivedObject]) -> list[tuple[str, Recall]]:
    """Return what it takes to have objects back from each archive, and the name of its tier.

    Parameters
    ----------
    objects
        The objects, in the order in which they are asked for.
    """
    found: dict[Archive, tuple[str, dict[str, int]]] = {}
    for each in objects:
        found.setdefault(each.archive, (each.tier, {}))[1][each.name] = each.bytes
    return [(tier, Recall(archive, names)) for archive, (tier, names) in found.items()]


def _home_at(location: str | Path) -> Store:
    if "://" not in str(location):
        return LocalStore(location, read_only=True)
    # obstore takes a tenth of a second to import, and most runs lie in a folder.
    from forebay.tiering.url_store import UrlStore

    return UrlStore(connect(str(location)), url=str(location))


async def _archived(home: Store, keys: Iterable[str]) -> dict[str, ArchivedObject]:
    posts = Signposts(home, SIGNPOST)
    if not await _in_archive(posts):
        return {}
    archives: dict[str, Archive] = {}
    packs: dict[tuple[str, str], ArchivedObject] = {}
    found: dict[str, ArchivedObject] = {}
    for key in dict.fromkeys(keys):
        post = await posts.of(key)
        place = None if post is None else _only_archive(post)
        if post is None or place is None or place.recall is None:
            continue
        if key not in post.objects or key in post.documents:
            continue
        if await _is_at_home(home, key, post):
            continue
        name = place.stored_as(key)
        if place.url not in archives:
            archives[place.url] = Archive(place.url, place.recall)
        if (place.url, name) not in packs:
            packs[place.url, name] = ArchivedObject(
                place.tier, archives[place.url], name, _length(post, place, name)
            )
        found[key] = packs[place.url, name]
    return found


async def _in_archive(posts: Signposts) -> bool:
    try:
        await posts.look()
    except FileNotFoundError:
        # The folder of the run is gone, as whoever reads it is told.
        return False
    return any(_only_archive(post) for post in await posts.all())


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
