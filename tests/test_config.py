"""Where settings come from."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ByteSize

from forebay.acquisition.settings import AcquisitionSettings
from forebay.cluster import AddressSpecification, LocalClusterSpecification
from forebay.cluster.node import NodeSettings
from forebay.config import Loaded, load_settings
from forebay.config.given import key_lines
from forebay.config.settings import leaves
from forebay.engine.settings import EngineSettings
from forebay.tiering.specification import TieringSettings


def load(folder: Path, text: str = "", **variables: str) -> Loaded:
    path = folder / "forebay.toml"
    path.write_text(text)
    return load_settings(path, environ={f"FOREBAY_{n}": v for n, v in variables.items()})


def test_without_a_file_and_variables_everything_is_the_default() -> None:
    """Runs in this folder, results beside them, and workers on this machine."""
    loaded = load_settings(environ={}, folder=Path("/"))
    assert loaded.file is None
    assert loaded.settings.runs == Path()
    assert loaded.settings.results is None
    assert loaded.settings.acquisition == AcquisitionSettings()
    assert loaded.settings.clusters == {"local": LocalClusterSpecification()}
    assert loaded.settings.engine.cluster == "local"
    assert {origin.source for origin in loaded.origins.values()} == {"default"}


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(
    tmp_path: Path,
) -> None:
    """Each setting is taken from the first that gives it, not the whole table."""
    loaded = load(
        tmp_path,
        '[acquisition]\ncompression = "zstd"\nframes_per_block = 7\n',
        ACQUISITION__COMPRESSION="blosc-lz4",
    )
    assert loaded.settings.acquisition == AcquisitionSettings(
        compression="blosc-lz4", frames_per_block=7
    )


def test_every_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    """A variable by its name, a line of the file by its number, a default as default."""
    loaded = load(
        tmp_path,
        '# ours\nruns = "/data"\n\n[engine]\nalgorithm_modules = [\n  "a.b",\n]\n'
        'cluster = "big"\n[clusters.big]\nkind = "local"\n',
        CLUSTERS__BIG__WORKERS="3",
    )
    path = tmp_path / "forebay.toml"
    sources = {key: origin.source for key, origin in loaded.origins.items()}
    assert sources == {
        "runs": f"{path}:2",
        "results": "default",
        **{f"acquisition.{'.'.join(key)}": "default" for key, _ in leaves(AcquisitionSettings())},
        # A table without entries has no origin.
        **{f"engine.{x}": "default" for x in EngineSettings.model_fields if x != "lanes"},
        **{f"node.{name}": "default" for name in NodeSettings.model_fields},
        **{f"tiering.{name}": "default" for name in TieringSettings.model_fields},
        "engine.cluster": f"{path}:8",
        "engine.algorithm_modules": f"{path}:5",
        **{
            f"clusters.{name}.{field}": "default"
            for name in ("local", "big")
            for field in LocalClusterSpecification.model_fields
        },
        "clusters.big.kind": f"{path}:10",
        "clusters.big.workers": "FOREBAY_CLUSTERS__BIG__WORKERS",
    }
    assert loaded.origins["clusters.big.workers"].value == 3
    assert loaded.file == path


def test_a_table_can_be_given_whole_and_a_setting_in_it_by_itself(tmp_path: Path) -> None:
    """The variable that says more goes before the one that says less."""
    loaded = load(
        tmp_path,
        CLUSTERS__BIG='{"kind": "local", "workers": 2, "processes": false}',
        CLUSTERS__BIG__WORKERS="5",
    )
    assert loaded.settings.clusters["big"] == LocalClusterSpecification(workers=5, processes=False)
    assert loaded.origins["clusters.big.processes"].source == "FOREBAY_CLUSTERS__BIG"
    assert loaded.origins["clusters.big.workers"].source == "FOREBAY_CLUSTERS__BIG__WORKERS"


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "runs": st.text("abc/~. 0é", min_size=1, max_size=9).map(lambda name: f"/{name}"),
    "results": st.text("abc7", min_size=1, max_size=4).map(lambda name: f"/{name}"),
    "acquisition.block_bytes": st.integers(1, 2**50) | st.sampled_from(["5 MiB", "1.5GB"]),
    "acquisition.frames_per_block": st.integers(1, 2**40),
    "acquisition.compression": st.sampled_from(["none", "blosc-lz4", "blosc-zstd", "zstd"]),
    "acquisition.buffer_bytes": st.integers(1, 2**50),
    "engine.cluster": st.sampled_from(["local", "big", "far"]),
    "engine.units_in_flight_per_worker": st.integers(1, 1000),
    "engine.algorithm_modules": st.lists(st.sampled_from(["a", "b.c", "/d/e.py"])),
    "clusters.big.kind": st.just("local"),
    "clusters.big.workers": st.integers(1, 99),
    "clusters.big.threads_per_worker": st.integers(1, 99),
    "clusters.big.memory_limit": st.just("auto") | st.integers(1, 2**50) | st.just("2 GiB"),
    "clusters.big.processes": st.booleans(),
    "clusters.big.dashboard": st.booleans(),
    "clusters.far.address": st.sampled_from(["tls://far.example:8786", "tls://[::1]:1"]),
    "clusters.far.ca_file": st.sampled_from(["/ca.pem", "/17"]),
    "clusters.far.timeout": st.floats(0.001, 1e6),
}
BASE = """
[clusters.big]
kind = "local"
[clusters.far]
kind = "address"
address = "tls://127.0.0.1:8786"
ca_file = "/a"
cert_file = "/b"
key_file = "/c"
"""


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_setting_means_the_same_in_the_file_and_in_the_environment(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the setting and its value, both ways of giving it end in the same settings."""
    key = data.draw(st.sampled_from(sorted(LEAVES)), label="key")
    value = data.draw(LEAVES[key], label="value")
    folder = tmp_path_factory.mktemp("config")
    # JSON's scalars, strings and lists are TOML's too.
    in_file = f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
    table, _, name = key.rpartition(".")
    base = BASE
    if table.startswith("clusters."):
        lines = [line for line in BASE.splitlines() if not line.startswith(f"{name} =")]
        lines.insert(lines.index(f"[{table}]") + 1, in_file.removeprefix(f"{table}."))
        # The other cluster keeps what this one gives otherwise.
        base, in_file = "\n".join(lines), ""
        if "kind" not in base.partition("[clusters.far]")[2]:
            base = base.replace("[clusters.far]", '[clusters.far]\nkind = "address"')
    variable = "FOREBAY_" + key.upper().replace(".", "__")
    as_text = value if isinstance(value, str) else json.dumps(value)

    file = folder / "forebay.toml"
    file.write_text(in_file + base)
    from_file = load_settings(file, environ={})
    file.write_text(BASE)
    from_environment = load_settings(file, environ={variable: as_text})
    assert from_file.settings == from_environment.settings
    assert from_file.origins[key].source.startswith(f"{file}:")
    assert from_environment.origins[key].source == variable


def test_an_empty_variable_counts_as_none(tmp_path: Path) -> None:
    """A shell's way of unsetting a variable does not set the runs to nothing."""
    loaded = load(tmp_path, 'runs = "/data"', RUNS="", NO_SUCH_SETTING="")
    assert loaded.settings.runs == Path("/data")


def test_relative_paths_in_the_file_start_at_its_folder(tmp_path: Path) -> None:
    """Wherever the command is called: runs, results, modules and certificates."""
    loaded = load(
        tmp_path,
        'runs = "data"\nresults = "../out"\n'
        '[engine]\nalgorithm_modules = ["mine.py", "/abs/other.py", "package.module"]\n'
        '[clusters.far]\nkind = "address"\naddress = "tls://far:1"\n'
        'ca_file = "ca.pem"\ncert_file = "/etc/cert.pem"\nkey_file = "~/key.pem"\n',
    )
    assert loaded.settings.runs == tmp_path / "data"
    assert loaded.settings.results == tmp_path.parent / "out"
    assert loaded.settings.engine.algorithm_modules == (
        str(tmp_path / "mine.py"),
        "/abs/other.py",
        "package.module",
    )
    far = loaded.settings.clusters["far"]
    assert isinstance(far, AddressSpecification)
    assert (far.ca_file, far.cert_file) == (tmp_path / "ca.pem", Path("/etc/cert.pem"))
    assert far.key_file == Path.home() / "key.pem"
    assert loaded.origins["runs"].value == tmp_path / "data"


def test_a_relative_path_in_a_variable_is_left_to_the_current_folder(tmp_path: Path) -> None:
    """A variable is set in a shell, and means what it would mean there."""
    assert load(tmp_path, 'runs = "data"', RUNS="here").settings.runs == Path("here")


def test_the_nearest_file_above_is_taken(tmp_path: Path) -> None:
    """A command called deep in a project finds the project's configuration."""
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "forebay.toml").write_text('runs = "/far"')
    assert load_settings(environ={}, folder=deep).settings.runs == Path("/far")
    (tmp_path / "a" / "forebay.toml").write_text('runs = "/near"')
    assert load_settings(environ={}, folder=deep).settings.runs == Path("/near")
    (tmp_path / "a" / "b" / "forebay.toml").mkdir()
    assert load_settings(environ={}, folder=deep).file == tmp_path / "a" / "forebay.toml"


def test_the_current_folder_is_where_the_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called without anything, as the command line does."""
    (tmp_path / "forebay.toml").write_text('runs = "/here"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOREBAY_CONFIG", raising=False)
    monkeypatch.setenv("FOREBAY_RESULTS", "/there")
    loaded = load_settings()
    assert loaded.settings.runs == Path("/here")
    assert loaded.settings.results == Path("/there")


def test_a_variable_names_the_file_and_an_argument_goes_before_it(tmp_path: Path) -> None:
    """Argument, then FOREBAY_CONFIG, then the search."""
    for name in ("forebay", "variable", "argument"):
        (tmp_path / f"{name}.toml").write_text(f'runs = "/{name}"')
    environ = {"FOREBAY_CONFIG": str(tmp_path / "variable.toml")}
    assert load_settings(environ=environ, folder=tmp_path).settings.runs == Path("/variable")
    named = load_settings(tmp_path / "argument.toml", environ=environ, folder=tmp_path)
    assert named.settings.runs == Path("/argument")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "# a comment\n",
                "\n",
                'K = """\n[not.a.table]\nx = 1\n"""\n',
                "K = [ # open\n  1,\n\n  'two]',\n]\n",
                "K.a.b = 1\n",
                "[K]\n",
                "[K.sub]\nx = {a = 1, b = [2]}\n",
                "'K with = and # in it' = '''\n'''\n",
            ]
        ),
        max_size=8,
    )
)
def test_the_line_of_a_key_is_where_its_statement_begins(statements: list[str]) -> None:
    """Whatever stands between: comments, texts and lists over several lines, tables."""
    text = ""
    expected: dict[str, int] = {}
    for number, statement in enumerate(statements):
        if "K" in statement:
            expected[f"K{number}"] = text.count("\n") + 1
        text += statement.replace("K", f"K{number}")
    found: dict[str, int] = {}
    for key, line in key_lines(text).items():
        for name in key:
            if name.startswith("K"):
                found.setdefault(name.partition(" ")[0], line)
    assert found == expected


def test_a_block_is_about_as_large_as_asked() -> None:
    """The nearest number of frames, and one where a frame is larger than a block."""
    import numpy as np

    from forebay.acquisition import Geometry

    camera = Geometry(("y", "x"), (2048, 2048), np.dtype("uint16"))
    assert AcquisitionSettings(block_bytes=ByteSize(64 * 2**20)).frames_for(camera) == 8
    assert AcquisitionSettings(block_bytes=ByteSize(61 * 2**20)).frames_for(camera) == 8
    assert AcquisitionSettings(block_bytes=ByteSize(1)).frames_for(camera) == 1
    assert AcquisitionSettings(frames_per_block=3).frames_for(camera) == 3
    diode = Geometry(("y", "x"), (1, 1), np.dtype("float32"))
    assert AcquisitionSettings().frames_for(diode) == 16384, "an index for each frame costs too"


def test_every_setting_is_described() -> None:
    """No field goes without a sentence for the reference."""
    from forebay.config import Settings

    models = (
        Settings,
        AcquisitionSettings,
        EngineSettings,
        LocalClusterSpecification,
        AddressSpecification,
    )
    for model in models:
        for name, field in model.model_fields.items():
            assert (field.description or "").endswith("."), f"{model.__name__}.{name}"
