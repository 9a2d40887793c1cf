"""The tables of the queue and the ledger; changes to them are made by the migrations.

A job is what somebody submitted.  It asks for results, each of them an algorithm with parameters
over one run, and several jobs may ask for the same one.  A result is cut into units.  A unit that
is worked on is held by a service under the number of the attempt, and nothing is written about it
but by who holds that attempt.  There are no counters: what is in use is what is held.
"""

import sqlalchemy as sa

REVISION = "0012"
"""The migration that makes these tables."""

METADATA = sa.MetaData()

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers the rows of a table only where the key is an INTEGER."""

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("job", _Number, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String, nullable=False, comment="submitting it again finds this job"),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("lane", sa.Integer, nullable=False, comment="place of the lane; 0 goes first"),
    sa.Column("priority", sa.Integer, nullable=False, comment="within the lane; higher first"),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("deadline", sa.BigInteger, comment="ns since 1970-01-01 UTC"),
    sa.Column("live", sa.Boolean, nullable=False, comment="goes on while its runs grow"),
    sa.Column("keep_up", sa.Integer, nullable=False, comment="every so-manieth block, when late"),
    sa.Column("force", sa.Boolean, nullable=False, comment="compute also what is done"),
    sa.Column("private", sa.String, comment="the only service that may work on it"),
    sa.Column("failures_allowed", sa.Integer, comment="dead letters after which it stops"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("error", sa.String, comment="why it did not end well"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("served_at", sa.BigInteger, nullable=False, comment="when a unit was last taken"),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("cluster", sa.String, comment="the only cluster that may compute it"),
    sa.Column(
        "partial",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="only of units that it named when it was submitted",
    ),
    sa.Column("reduce_at", sa.Integer, comment="blocks behind at which acquisition is to reduce"),
    sa.Column(
        "recall_ahead",
        sa.BigInteger,
        comment="bytes to ask archives for ahead of what is computed; none where it is not agreed",
    ),
    sa.Column("recall_most", sa.Float, comment="what recalls may cost in all; any if none"),
    sa.Column(
        "recall_cost",
        sa.Float,
        nullable=False,
        server_default="0",
        comment="what those cost that were asked for",
    ),
    sa.Index("jobs_of_key", "key"),
    sa.Index("jobs_by_state", "state", "job"),
)

DEPENDENCIES = sa.Table(
    "dependencies",
    METADATA,
    sa.Column("job", _Number, sa.ForeignKey("jobs.job"), primary_key=True),
    sa.Column("after", _Number, sa.ForeignKey("jobs.job"), primary_key=True, index=True),
)

RESULTS = sa.Table(
    "results",
    METADATA,
    sa.Column("result", sa.String, primary_key=True, comment="identity of the result"),
    sa.Column("run_id", sa.String, nullable=False, index=True),
    sa.Column("run_name", sa.String, nullable=False),
    sa.Column("location", sa.String, comment="where the run lies"),
    sa.Column("folder", sa.String, comment="where the result lies"),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("needs", sa.JSON, nullable=False, comment="empty for whole runs"),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("driver", _Number, sa.ForeignKey("jobs.job"), index=True, comment="whom it serves"),
    sa.Column("planned_blocks", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("frames", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("planned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("planner", sa.String, comment="service that plans it"),
    sa.Column("error", sa.String, comment="why it cannot be planned"),
    sa.Column(
        "closed",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="planned to the end of a run that does not grow any more",
    ),
    sa.Column("held_until", sa.BigInteger, comment="nothing of it is taken before"),
    sa.Column("held_because", sa.String, comment="what is wrong with its storage"),
    sa.Column("form", sa.String, comment="what its published parts have in common"),
)

JOB_RESULTS = sa.Table(
    "job_results",
    METADATA,
    sa.Column("job", _Number, sa.ForeignKey("jobs.job"), primary_key=True),
    sa.Column("result", sa.String, sa.ForeignKey("results.result"), primary_key=True, index=True),
)

_HELD = sa.text("holder IS NOT NULL")
_LATER = sa.text("not_before IS NOT NULL")
_TOO_LARGE = sa.text("memory IS NOT NULL")
_DEFERRED = sa.text("state = 'deferred'")

UNITS = sa.Table(
    "units",
    METADATA,
    sa.Column("unit", sa.String, primary_key=True, comment="identity of the unit"),
    sa.Column("result", sa.String, sa.ForeignKey("results.result"), nullable=False),
    sa.Column("label", sa.String, nullable=False, comment="frames and tile"),
    sa.Column("start", sa.BigInteger, nullable=False, comment="first frame"),
    sa.Column("stop", sa.BigInteger, nullable=False, comment="frame after the last"),
    sa.Column("y", sa.BigInteger, nullable=False, comment="first row of pixels"),
    sa.Column("x", sa.BigInteger, nullable=False, comment="first column of pixels"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="of frames that it has to see"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the attempt that may write"),
    sa.Column("holder", sa.String, comment="service that holds it"),
    sa.Column("not_before", sa.BigInteger, comment="when it may be tried again"),
    sa.Column("retries", sa.Integer, nullable=False, comment="attempts that were its own fault"),
    sa.Column("deaths", sa.Integer, nullable=False, comment="workers that died under it"),
    sa.Column("alone", sa.Boolean, nullable=False, comment="computed while nothing else is"),
    sa.Column("failure", sa.String, comment="class of the last failure"),
    sa.Column("error", sa.String, comment="why the last attempt failed"),
    sa.Column("taken_at", sa.BigInteger, nullable=False, comment="when its last frame was taken"),
    sa.Column("began_at", sa.BigInteger, comment="when the last attempt began"),
    sa.Column("ended_at", sa.BigInteger, comment="when the last attempt that ended did so"),
    sa.Column("seconds", sa.Float, comment="that a worker was at the published part"),
    sa.Column("part", sa.String, comment="folder of the published part"),
    sa.Column("part_blake3", sa.String),
    sa.Column("part_bytes", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("published_at", sa.BigInteger, comment="when its part was published"),
    sa.Column("before", sa.String, comment="the unit whose state it goes on with"),
    sa.Column("avoid", sa.String, comment="worker that is to compute it only if no other can"),
    sa.Column("memory", sa.BigInteger, comment="bytes with which a worker is too small for it"),
    sa.Column(
        "pieces",
        sa.Integer,
        nullable=False,
        server_default="1",
        comment="in how many, one after the other, it is computed",
    ),
    # The last two are there so that sums over the units of a result need nothing else.
    sa.Index("units_to_take", "result", "state", "start", "y", "x", "stop", "seconds"),
    sa.Index("units_by_frames", "result", "start"),
    sa.Index("units_of_holder", "holder", sqlite_where=_HELD, postgresql_where=_HELD),
    sa.Index("units_to_retry", "not_before", sqlite_where=_LATER, postgresql_where=_LATER),
    sa.Index(
        "units_too_large",
        "result",
        "state",
        sqlite_where=_TOO_LARGE,
        postgresql_where=_TOO_LARGE,
    ),
    sa.Index("units_deferred", "result", sqlite_where=_DEFERRED, postgresql_where=_DEFERRED),
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    sa.Column("unit", sa.String, sa.ForeignKey("units.unit"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("failure", sa.String, nullable=False, comment="class of the failure"),
    sa.Column("error", sa.String, nullable=False),
    sa.Column("traceback", sa.String, nullable=False),
    sa.Column("worker", sa.String, comment="address of the worker"),
    sa.Column("log", sa.String, comment="what the worker logged last"),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("began_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger, nullable=False),
    comment="attempts that failed",
)

SERVICES = sa.Table(
    "services",
    METADATA,
    sa.Column("service", sa.String, primary_key=True),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("process", sa.BigInteger, nullable=False, comment="process id"),
    sa.Column("began_at", sa.Float, nullable=False, comment="when the process began, for its id"),
    sa.Column("alive_until", sa.BigInteger, nullable=False, comment="the lease of all it holds"),
    sa.Column("cluster", sa.String, comment="the cluster that computes for it"),
)

_REVISIONS = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def make_tables(connection: sa.Connection) -> None:
    """Make the tables where there are none, and note of which revision they are.

    Parameters
    ----------
    connection
        Within a transaction.
    """
    METADATA.create_all(connection, checkfirst=False)
    _REVISIONS.create(connection, checkfirst=True)
    connection.execute(sa.insert(_REVISIONS).values(version_num=REVISION))
