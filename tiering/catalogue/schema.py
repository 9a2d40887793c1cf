"""The tables of the catalogue; changes to them are made by the migrations.

A run, or a volume of one or of a result, has objects, which never change, and copies of all of
them, each on a shelf of a tier.  A shelf is made by one move and never used again once it is emptied, so nothing that a mover does
late can touch what another one has put somewhere else.  A move that is worked on is held under the
number of its epoch, and nothing is written about it but by who holds that epoch.
"""

import sqlalchemy as sa

REVISION = "0003"
"""The migration that makes these tables."""
VERSION_TABLE = "alembic_version_tiering"
"""Where it is kept which migration was made last; the queue has another one, for its own tables."""

METADATA = sa.MetaData()

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_RUN = "tier_runs.run_id"
_SHELF = "tier_shelves.shelf"

RUNS = sa.Table(
    "tier_runs",
    METADATA,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, index=True, comment="in the folder of the runs"),
    sa.Column("home", sa.String, nullable=False, comment="the folder that it was recorded in"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="of all its objects"),
    sa.Column("objects", sa.BigInteger, nullable=False, comment="number of them"),
    sa.Column("closed_at", sa.BigInteger, nullable=False, comment="ns since 1970-01-01 UTC"),
    sa.Column("read_at", sa.BigInteger, nullable=False, comment="when it was last opened"),
    sa.Column(
        "kind", sa.String, nullable=False, server_default="raw", comment="raw, result or blocks"
    ),
)

OBJECTS = sa.Table(
    "tier_objects",
    METADATA,
    sa.Column("run_id", sa.String, sa.ForeignKey(_RUN), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("blake3", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, comment="of the run's documents, which are small"),
)

SHELVES = sa.Table(
    "tier_shelves",
    METADATA,
    sa.Column("shelf", sa.String, primary_key=True),
    sa.Column("run_id", sa.String, sa.ForeignKey(_RUN), nullable=False),
    sa.Column("tier", sa.String, nullable=False),
    sa.Column("path", sa.String, nullable=False, comment="within the tier"),
    sa.Column("home", sa.Boolean, nullable=False, comment="the folder that it was recorded in"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="room that it takes or will take"),
    sa.Column("verified_at", sa.BigInteger, comment="when all of it was last read back"),
    sa.Column("drain_until", sa.BigInteger, comment="when its grace ends"),
    sa.Index("tier_shelves_of_run", "run_id", "tier"),
    sa.Index("tier_shelves_in_tier", "tier", "state"),
)

MOVES = sa.Table(
    "tier_moves",
    METADATA,
    sa.Column("move", _Number, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String, sa.ForeignKey(_RUN), nullable=False),
    sa.Column("source", sa.String, sa.ForeignKey(_SHELF), nullable=False),
    sa.Column("tier", sa.String, nullable=False, comment="where it goes"),
    sa.Column("target", sa.String, sa.ForeignKey(_SHELF), comment="once it has begun"),
    sa.Column("keep", sa.Boolean, nullable=False, comment="the copy at the source stays"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False, comment="the policy, or who asked for it"),
    sa.Column("epoch", sa.BigInteger, nullable=False, comment="the attempt that may write"),
    sa.Column("holder", sa.String, comment="mover that is at it"),
    sa.Column("lease_until", sa.BigInteger, comment="when another one may go on"),
    sa.Column("attempts", sa.Integer, nullable=False, comment="that failed in a row"),
    sa.Column("not_before", sa.BigInteger, comment="when it goes on"),
    sa.Column("error", sa.String, comment="why it does not go on"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Index(
        "tier_moves_one_at_a_time",
        "run_id",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

PROGRESS = sa.Table(
    "tier_progress",
    METADATA,
    sa.Column("shelf", sa.String, sa.ForeignKey(_SHELF), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False, comment="copied, then verified; or again"),
    comment="objects on shelves that are being filled",
)

PACKS = sa.Table(
    "tier_packs",
    METADATA,
    sa.Column("shelf", sa.String, sa.ForeignKey(_SHELF), primary_key=True),
    sa.Column("pack", sa.String, primary_key=True, comment="its name on the shelf"),
    sa.Column("bytes", sa.BigInteger, comment="once it is there"),
    sa.Column("blake3", sa.String, comment="of all of it, once it is there"),
)

PACKED = sa.Table(
    "tier_packed",
    METADATA,
    sa.Column("shelf", sa.String, sa.ForeignKey(_SHELF), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("pack", sa.String, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False, comment="where the object's bytes begin"),
    comment="objects that lie in packs",
)

PROTECTION = sa.Table(
    "tier_protection",
    METADATA,
    sa.Column("protection", _Number, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String, sa.ForeignKey(_RUN), nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False, comment="pin or hold"),
    sa.Column("tier", sa.String, comment="of a pin: where the run stays"),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("until", sa.BigInteger, comment="when it ends by itself"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

_REVISIONS = sa.Table(
    VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def make_tables(connection: sa.Connection) -> None:
    """Make the tables where there are none, and note of which revision they are.

    Parameters
    ----------
    connection
        Within a transaction.
    """
    METADATA.create_all(connection, checkfirst=False)
    _REVISIONS.create(connection, checkfirst=False)
    connection.execute(sa.insert(_REVISIONS).values(version_num=REVISION))
