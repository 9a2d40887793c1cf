"""The queue: jobs over many runs, results that they ask for, units that services hold."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and take over what the ledger holds."""
    op.drop_index("ix_jobs_run_id", "jobs")
    op.drop_index("ix_units_job", "units")
    op.rename_table("jobs", "old_jobs")
    op.rename_table("units", "old_units")
    _make_tables()
    _take_over()
    op.drop_table("old_units")
    op.drop_table("old_jobs")


def _make_tables() -> None:
    op.create_table(
        "jobs",
        sa.Column("job", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("algorithm", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("keep_up", sa.Integer, nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("private", sa.String),
        sa.Column("failures_allowed", sa.Integer),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("served_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("jobs_of_key", "jobs", ["key"])
    op.create_index("jobs_by_state", "jobs", ["state", "job"])
    op.create_table(
        "dependencies",
        sa.Column("job", _NUMBER, sa.ForeignKey("jobs.job"), primary_key=True),
        sa.Column("after", _NUMBER, sa.ForeignKey("jobs.job"), primary_key=True),
    )
    op.create_index("ix_dependencies_after", "dependencies", ["after"])
    op.create_table(
        "results",
        sa.Column("result", sa.String, primary_key=True),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("run_name", sa.String, nullable=False),
        sa.Column("location", sa.String),
        sa.Column("folder", sa.String),
        sa.Column("algorithm", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("needs", sa.JSON, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("driver", _NUMBER, sa.ForeignKey("jobs.job")),
        sa.Column("planned_blocks", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("frames", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("planned", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("planner", sa.String),
        sa.Column("error", sa.String),
    )
    op.create_index("ix_results_run_id", "results", ["run_id"])
    op.create_index("ix_results_driver", "results", ["driver"])
    op.create_table(
        "job_results",
        sa.Column("job", _NUMBER, sa.ForeignKey("jobs.job"), primary_key=True),
        sa.Column("result", sa.String, sa.ForeignKey("results.result"), primary_key=True),
    )
    op.create_index("ix_job_results_result", "job_results", ["result"])
    op.create_table(
        "units",
        sa.Column("unit", sa.String, primary_key=True),
        sa.Column("result", sa.String, sa.ForeignKey("results.result"), nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("y", sa.BigInteger, nullable=False),
        sa.Column("x", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("holder", sa.String),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("alone", sa.Boolean, nullable=False),
        sa.Column("failure", sa.String),
        sa.Column("error", sa.String),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("seconds", sa.Float),
        sa.Column("part", sa.String),
        sa.Column("part_blake3", sa.String),
        sa.Column("part_bytes", sa.BigInteger),
        sa.Column("rows", sa.BigInteger),
        sa.Column("published_at", sa.BigInteger),
    )
    op.create_index("units_to_take", "units", ["result", "state", "start", "y", "x"])
    held, late = sa.text("holder IS NOT NULL"), sa.text("not_before IS NOT NULL")
    op.create_index("units_of_holder", "units", ["holder"], sqlite_where=held)
    op.create_index("units_to_retry", "units", ["not_before"], sqlite_where=late)
    op.create_table(
        "attempts",
        sa.Column("unit", sa.String, sa.ForeignKey("units.unit"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("traceback", sa.String, nullable=False),
        sa.Column("worker", sa.String),
        sa.Column("log", sa.String),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("began_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "services",
        sa.Column("service", sa.String, primary_key=True),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("process", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
    )


def _take_over() -> None:
    """Copy results and units; what was running or had failed then is to be tried again."""
    op.execute(
        "INSERT INTO results (result, run_id, run_name, algorithm, version, needs, parameters, "
        "created_at) SELECT job, run_id, run_name, algorithm, version, needs, parameters, "
        "created_at FROM old_jobs"
    )
    op.execute(
        "INSERT INTO units (unit, result, label, start, stop, y, x, bytes, state, attempt, retries,"
        " deaths, alone, error, taken_at, began_at, ended_at, part, part_blake3, part_bytes,"
        " rows, published_at) SELECT unit, job, label, start, stop, y, x, 0, CASE WHEN state ="
        " 'superseded' THEN 'superseded' WHEN part IS NOT NULL THEN 'done' ELSE 'cancelled' END,"
        " attempt, 0, 0, false, error, taken_at, began_at, ended_at, part, part_blake3,"
        " part_bytes, rows, published_at FROM old_units"
    )
