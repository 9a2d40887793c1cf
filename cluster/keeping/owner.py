"""Whose resources are whose, where a cluster's machines outlive the process that asked for them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartOwner:
    """One start of a cluster: all that it makes elsewhere carries these marks."""

    cluster: str
    """Name of the cluster."""
    site: str
    """The site that it was started from."""
    start: str
    """What this start is called, and what tells it from others."""

    def marks(self, prefix: str) -> dict[str, str]:
        """Return its marks, the names of which begin as is usual there.

        Examples
        --------
        >>> StartOwner("imaging", "north", "1a2b").marks("forebay/")
        {'forebay/cluster': 'imaging', 'forebay/site': 'north', 'forebay/start': '1a2b'}
        """
        return {
            f"{prefix}cluster": self.cluster,
            f"{prefix}site": self.site,
            f"{prefix}start": self.start,
        }
