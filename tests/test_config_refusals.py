"""What is wrong in the configuration is refused in one line that says where and what."""

from pathlib import Path

import pytest

from forebay.acquisition.settings import AcquisitionSettings
from forebay.config import ConfigError, load_settings
from forebay.errors import ExitCode

POLICY = "[tiers.hot]\nurl = '/a'\n[[tiering.policies]]\nname = 'age'\nfrom = 'hot'\nto = 'cold'\n"


def refused(folder: Path, text: str = "", **variables: str) -> str:
    path = folder / "forebay.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        load_settings(path, environ={f"FOREBAY_{n}": v for n, v in variables.items()})
    message = str(refusal.value)
    assert "\n" not in message
    assert refusal.value.exit_code is ExitCode.USAGE
    return message.replace(f"{folder}/", "")


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    """A file that was asked for is not passed over."""
    with pytest.raises(ConfigError, match=r"there is no configuration file /no/such\.toml"):
        load_settings(Path("/no/such.toml"), environ={})
    with pytest.raises(ConfigError, match=r"^FOREBAY_CONFIG: there is no configuration file"):
        load_settings(environ={"FOREBAY_CONFIG": "/no/such.toml"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[acquisition]\n\ncompresion = 'zstd'",
            (
                "forebay.toml:3: there is no setting acquisition.compresion; known here are "
                f"{', '.join(AcquisitionSettings.model_fields)}; did you mean 'compression'?"
            ),
        ),
        (
            "acquistion = 4",
            (
                "forebay.toml:1: there is no setting acquistion; known here are runs, results, "
                "acquisition, engine, clusters, node, tiers, tiering; did you mean 'acquisition'?"
            ),
        ),
        (
            "[clusters.big]\nkind = 'local'\nworker = 4",
            (
                "forebay.toml:3: there is no setting clusters.big.worker; known here are kind, "
                "cost_per_worker_hour, workers, threads_per_worker, memory_limit, memory_ceiling, "
                "processes, start_seconds, dashboard; did you mean 'workers'?"
            ),
        ),
        (
            "acquisition.compression = 'zsdt'",
            (
                "forebay.toml:1: acquisition.compression = 'zsdt': it must be 'none', 'blosc-lz4', "
                "'blosc-zstd' or 'zstd'; did you mean 'zstd'?"
            ),
        ),
        (
            "[engine]\nunits_in_flight_per_worker = 0",
            "forebay.toml:2: engine.units_in_flight_per_worker = 0: it must be greater than 0",
        ),
        (
            "[engine]\nalgorithm_modules = ['fine', 'not-fine']",
            (
                "forebay.toml:2: engine.algorithm_modules = ['fine', 'not-fine']: it is neither the "
                "path of a .py file nor the name of a module"
            ),
        ),
        (
            "[acquisition]\nblock_bytes = '64 MIP'",
            (
                "forebay.toml:2: acquisition.block_bytes = '64 MIP': it must be a size such as "
                "'64 MiB'"
            ),
        ),
        (
            "acquisition.buffer_bytes = 0",
            "forebay.toml:1: acquisition.buffer_bytes = 0: it needs more than 0 bytes",
        ),
        (
            "[clusters.big]\nkind = 'local'\nmemory_limit = 'all'",
            (
                "forebay.toml:3: clusters.big.memory_limit = 'all': it must be 'auto' or it must be "
                "a size such as '64 MiB'"
            ),
        ),
        (
            "[clusters.big]\nworkers = 4",
            "forebay.toml:1: clusters.big: it needs a kind, one of local, local-cuda, slurm, aws-ec2, aws-fargate, kubernetes, address",
        ),
        (
            "[clusters.big]\nkind = 'slurm'",
            "forebay.toml:1: clusters.big needs maximum_workers and memory_limit",
        ),
        (
            "[clusters.big]\nkind = 'slurm'\n[clusters.other]\nkind = 'address'",
            "forebay.toml:1: clusters.big needs maximum_workers and memory_limit",
        ),
        (
            "[clusters.big]\nkind = 'adress'",
            (
                "forebay.toml:2: clusters.big.kind = 'adress': it must be one of local, local-cuda, slurm, aws-ec2, aws-fargate, kubernetes, address; "
                "did you mean 'address'?"
            ),
        ),
        (
            "[clusters.big]\nkind = 'address'\naddress = 'tcp://10.0.0.1:8786'",
            (
                "forebay.toml:1: clusters.big: tcp://10.0.0.1:8786 would send frames and code over "
                "the network in the clear: give tls:// with ca_file, cert_file and key_file, or an "
                "address on this machine"
            ),
        ),
        (
            "[clusters.Big]\nkind = 'local'",
            (
                "forebay.toml:1: clusters.Big: a name is lower-case letters and digits, with single "
                "'-' or '_' between"
            ),
        ),
        (
            "[clusters.gpu-box]\nkind = 'local'\n[engine]\ncluster = 'gpubox'",
            (
                "forebay.toml:4: engine.cluster = 'gpubox' is not in the table clusters; there are "
                "local, gpu-box, none; did you mean 'gpu-box'?"
            ),
        ),
        ("acquisition = 4", "forebay.toml:1: acquisition = 4: it must be a table"),
        ("[clusters]\nlocal = 3", "forebay.toml:2: clusters.local = 3: it must be a table"),
        ("clusters = []", "forebay.toml:1: clusters = []: it must be a table"),
        ("runs = 3", "forebay.toml:1: runs = 3: it must be a path"),
        (
            "[tiers.hot]\nurl = '/data/runs'\ncapcity = 3",
            (
                "forebay.toml:3: there is no setting tiers.hot.capcity; known here are url, "
                "capacity, low, high, bandwidth, storage_class, pack_bytes, versioned, "
                "encryption, encryption_key, lock_days, lock_mode, cost_per_gb_month, cost_per_gb_read, recall_speed, recall_hours, recall_days, "
                "recall_cost_per_gb, recall_cost_per_1000; did you mean 'capacity'?"
            ),
        ),
        (
            "[tiers.cold]\nurl = 'memory://x'",
            (
                "forebay.toml:2: tiers.cold.url = 'memory://x': a tier is a folder, or one of "
                "s3://bucket/prefix, gs://bucket/prefix, az://bucket/prefix"
            ),
        ),
        (
            "[tiers.hot]\nurl = '/data/runs'\n[tiers.warm]\nurl = '/data'",
            (
                "forebay.toml:1: tiers: tiers 'hot' (/data/runs) and 'warm' (/data) share a place: "
                "deleting in one would delete in the other; give each its own"
            ),
        ),
        (
            "[tiers.hot]\nurl = '/a'\n[[tiering.policies]]\nname = 'age'\nfrom = 'hot'\nto = 'ice'",
            "forebay.toml:3: tiering: policy 'age': to = 'ice' is no tier; there are hot",
        ),
        (
            (
                "[tiers.hot]\nurl = '/a'\n[tiers.cold]\nurl = '/b'\n"
                "[[tiering.policies]]\nname = 'down'\nfrom = 'hot'\nto = 'cold'\n"
                "[[tiering.policies]]\nname = 'up'\nfrom = 'cold'\nto = 'hot'\nruns = 'a*'"
            ),
            (
                "forebay.toml:5: tiering: policies 'down', 'up' move the same runs round and "
                "round, without end: drop one"
            ),
        ),
        (
            f"{POLICY}unred_days = 3",
            (
                "forebay.toml:7: there is no setting tiering.policies['age'].unred_days; known here "
                "are name, from, to, runs, data, state, older_than_days, unread_days, larger_than, "
                "when, keep, recall_cost; did you mean 'unread_days'?"
            ),
        ),
        (
            f"{POLICY}[[tiering.policies]]\nname = 'size'\n\nto = 4\nfrom = 'hot'",
            "forebay.toml:10: tiering.policies['size'].to = 4: it must be a valid string",
        ),
        (
            f"{POLICY}[[tiering.policies]]\nunread_days = 3",
            "forebay.toml:7: number 2 of tiering.policies needs name and from and to",
        ),
        (
            f"{POLICY}when = 'often'",
            (
                "forebay.toml:7: tiering.policies['age'].when = 'often': it must be 'always' or "
                "'full'"
            ),
        ),
        (
            "[tiering.policies]\nname = 'age'",
            (
                "forebay.toml:1: tiering.policies: it must be a list of tables, each under "
                "[[tiering.policies]]"
            ),
        ),
        (
            "[[engine.retries]]\naction = 'retry'\nretrys = 3",
            (
                "forebay.toml:3: there is no setting retrys of number 1 of engine.retries; known "
                "here are failures, action, up_to, same_error, retries, wait_seconds, "
                "most_wait_seconds, alone, elsewhere; did you mean 'retries'?"
            ),
        ),
        ("tiering.policies = 'age'", "forebay.toml:1: tiering.policies = 'age': it must be a list"),
        ("runs = '/a'\nruns = = 3", "forebay.toml:2: not TOML: Invalid value"),
        ("a = [\n1,\n\n", "forebay.toml:2: not TOML: Invalid value"),
    ],
)
def test_what_is_wrong_in_the_file_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """The line, the key, what is allowed there, and what was probably meant."""
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "RUNZ",
            "/data",
            (
                "FOREBAY_RUNZ: there is no such setting; variables begin with FOREBAY_RUNS, "
                "FOREBAY_RESULTS, FOREBAY_ACQUISITION, FOREBAY_ENGINE, FOREBAY_CLUSTERS, "
                "FOREBAY_NODE, FOREBAY_TIERS, FOREBAY_TIERING; "
                "did you mean 'FOREBAY_RUNS'?"
            ),
        ),
        (
            "RUNS__FOLDER",
            "/data",
            (
                "FOREBAY_RUNS__FOLDER: there is no such setting; variables begin with FOREBAY_RUNS, "
                "FOREBAY_RESULTS, FOREBAY_ACQUISITION, FOREBAY_ENGINE, FOREBAY_CLUSTERS, "
                "FOREBAY_NODE, FOREBAY_TIERS, FOREBAY_TIERING; "
                "did you mean 'FOREBAY_RUNS'?"
            ),
        ),
        (
            "ENGINE__CLUSTR",
            "local",
            (
                "FOREBAY_ENGINE__CLUSTR: there is no setting engine.clustr; known here are cluster, "
                "units_in_flight_per_worker, ledger, lease_seconds, ageing_seconds, unit_seconds, "
                "storage_seconds, lanes, "
                "most_retries, retries, algorithm_modules; did you mean 'cluster'?"
            ),
        ),
        (
            "CLUSTERS__LOCAL__WORKERS",
            "two",
            (
                "FOREBAY_CLUSTERS__LOCAL__WORKERS: clusters.local.workers = 'two': it must be a "
                "valid integer, unable to parse string as an integer"
            ),
        ),
        (
            "CLUSTERS__BIG__WORKERS",
            "2",
            "FOREBAY_CLUSTERS__BIG__WORKERS: clusters.big: it needs a kind, one of local, local-cuda, slurm, aws-ec2, aws-fargate, kubernetes, address",
        ),
        (
            "ENGINE__ALGORITHM_MODULES",
            "mine.py",
            (
                "FOREBAY_ENGINE__ALGORITHM_MODULES = 'mine.py' is not JSON, which lists and tables "
                'are given as: ["a", "b"]'
            ),
        ),
        (
            "ENGINE__CLUSTER",
            "loca",
            (
                "FOREBAY_ENGINE__CLUSTER: engine.cluster = 'loca' is not in the table clusters; "
                "there are local, none; did you mean 'local'?"
            ),
        ),
    ],
)
def test_what_is_wrong_in_the_environment_is_refused_in_one_line(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    """The variable, the key, what is allowed there, and what was probably meant."""
    assert refused(tmp_path, **{variable: value}) == message


def test_a_wrong_file_is_refused_also_where_a_variable_would_go_before_it(tmp_path: Path) -> None:
    """A value where a table belongs is not passed over for the sake of a variable."""
    message = refused(tmp_path, "acquisition = 4", ACQUISITION__COMPRESSION="zstd")
    assert message == "forebay.toml:1: acquisition = 4: it must be a table"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A binary file is named, not decoded."""
    path = tmp_path / "forebay.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_settings(path, environ={})
