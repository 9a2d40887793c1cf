"""Tiers that are not what they should be: one sentence, no credentials, and nothing moved."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.tiering.site import Site

from forebay.acquisition import durable
from forebay.acquisition.errors import RunNameError
from forebay.acquisition.format.layout import check_run_name
from forebay.acquisition.storage.conditional import refusal
from forebay.config import ConfigError, load_settings
from forebay.errors import ForebayError
from forebay.tiering.agreement import check_policies
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.handoff.destination import destination_at
from forebay.tiering.scan import scan, take_in_runs
from forebay.tiering.specification import PolicySpecification, TierSpecification
from forebay.tiering.storage.probing import probe
from forebay.tiering.storage.tiers import Tier
from forebay.tiering.store import open_bucket, open_store

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "AWS_SESSION_TOKEN": "a-token-that-nobody-may-see",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@dataclass
class Answer:
    """What a server answers to everything."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answer]:
    """A server that speaks HTTP, and gives one answer to every request."""
    given = Answer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler._answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield given
    server.shutdown()
    thread.join()
    server.server_close()


def error(code: str, more: str = "") -> str:
    """Return the body that S3 sends with an error."""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}<Error><Code>{code}</Code><Message>no</Message>{more}</Error>"


ECHO = "<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId><StringToSign>hush-hush</StringToSign>"
TOKEN = "<Token-0>a-token-that-nobody-may-see</Token-0>"
REGION = "<Region>eu-central-1</Region>"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, error("NoSuchBucket"), "there is no such bucket; make it, or check its name"),
        (301, error("PermanentRedirect"), "the bucket is in another region; let AWS_REGION"),
        (400, error("AuthorizationHeaderMalformed", REGION), "another region, eu-central-1; let"),
        (403, error("InvalidAccessKeyId", ECHO), "the credentials in the environment are wrong"),
        (403, error("SignatureDoesNotMatch", ECHO), "the credentials in the environment are wrong"),
        (403, error("AccessDenied"), "check the credentials in the environment, and whether they"),
        (400, error("ExpiredToken", TOKEN), "the credentials in the environment have expired"),
        (400, "hush-hush is AKIAEXAMPLE, a-token-that-nobody-may-see", "*** is ***, ***"),
    ],
)
def test_a_bucket_that_refuses_is_told_in_one_sentence(
    answer: Answer, site: Site, status: int, body: str, says: str
) -> None:
    """Without the credentials that its answer repeats; the run lies where it lay."""
    answer.status, answer.body = status, body
    site.specifications["cold"] = TierSpecification(url="s3://lab/cold")
    site.database.close()
    site.open()
    move = site.plan("cold")
    site.work()
    told = [probe(site.tiers["cold"]).problem, site.moves.get(move.move).error]
    for each in told:
        assert each is not None
        assert says in each
        assert "\n" not in each
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            assert KEYS[name] not in each
    site.check_readable()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (404, "there is no such bucket; make it, or check its name"),
        (301, "the bucket is in another region; let AWS_REGION"),
        (403, "check the credentials"),
    ],
)
def test_an_archive_that_refuses_is_told_in_one_sentence_too(
    answer: Answer, status: int, says: str
) -> None:
    """Its answers to what only asks for the head have no body to tell more."""
    answer.status, answer.headers = status, {"x-amz-bucket-region": "eu-central-1"}
    tier = TierSpecification(url="s3://lab/cold", storage_class="GLACIER")
    problem = probe(Tier("cold", tier)).problem or ""
    assert problem.startswith("s3://lab/cold/.forebay-probe cannot be looked at: ")
    assert says in problem
    assert "\n" not in problem


def test_a_locked_tier_with_wrong_credentials_does_not_print_them(answer: Answer) -> None:
    """Though the answer repeats them."""
    answer.status, answer.body = 403, error("InvalidAccessKeyId", ECHO)
    tier = TierSpecification(url="s3://lab/cold", versioned=True, lock_days=3)
    problem = probe(Tier("cold", tier)).problem or ""
    assert "the credentials in the environment are wrong; check them" in problem
    assert "AKIAEXAMPLE" not in problem
    assert "hush-hush" not in problem


def test_a_recorder_does_not_print_credentials_either() -> None:
    """Where a bucket refuses it, and the answer repeats them."""
    said = refusal("s3://lab/run", OSError(f"PUT 403: {error('InvalidAccessKeyId', ECHO)}"))
    assert "InvalidAccessKeyId" in said
    assert "AKIAEXAMPLE" not in said
    assert "hush-hush" not in said


def test_a_bucket_that_keeps_versions_is_refused(answer: Answer, site: Site) -> None:
    """Deleting there would free nothing; one with object lock has to, and says so."""
    answer.headers = {"ETag": '"x"', "x-amz-version-id": "3sL4kqtJlcpXroDTDmJ"}
    answer.body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    site.specifications["cold"] = TierSpecification(url="s3://lab/cold")
    site.database.close()
    site.open()
    problem = probe(site.tiers["cold"]).problem
    assert problem is not None
    assert "keeps old versions of what is deleted" in problem
    move = site.plan("cold")
    site.work()
    assert "keeps old versions" in (site.moves.get(move.move).error or "")
    site.check_readable()
    locked = Tier("cold", TierSpecification(url="s3://lab/cold", versioned=True))
    locked.shelf("a").put("key", b"content")


@pytest.mark.parametrize("name", ["a//b", "a/../b", "./a"])
def test_an_object_whose_name_is_no_path_is_told(answer: Answer, name: str) -> None:
    """Somebody has put it there by hand, and no list that it is in can be read."""
    found = f"<Contents><Key>cold/.forebay/{name}</Key><Size>1</Size><ETag>x</ETag>"
    found += "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
    answer.body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
    tier = Tier("cold", TierSpecification(url="s3://lab/cold"))
    with pytest.raises(PlaceUnavailableError) as told:
        tier.shelf(".forebay").stored()
    assert "by a name that is no path; rename it, or delete it" in str(told.value)
    assert name in str(told.value)
    assert "network" not in str(told.value)


@pytest.mark.s3
def test_a_bucket_that_is_missing_is_not_made(
    seaweedfs_server: int, bucket: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the server would make one of any name that is put to, also a misspelt one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{seaweedfs_server}")
    missing = TierSpecification(url="s3://misspelt/cold")
    site.specifications["cold"] = missing
    site.database.close()
    site.open()
    move = site.plan("cold")
    site.work()
    with pytest.raises(PlaceUnavailableError, match="there is no such bucket"):
        site.tiers["cold"].shelf("any").stored()
    for problem in (site.moves.get(move.move).error, probe(Tier("cold", missing)).problem):
        assert problem is not None
        assert "there is no such bucket; make it, or check its name" in problem
    site.check_readable()


def test_credentials_in_a_url_are_refused_and_not_repeated(tmp_path: Path) -> None:
    """Wherever the URL is given; what is recorded, logged and shown has it in it."""
    url = "s3://AKIAEXAMPLE:hush-hush@lab/runs"
    (tmp_path / "forebay.toml").write_text(f'[tiers.cold]\nurl = "{url}"\n')
    uses: list[Callable[[], object]] = [
        lambda: load_settings(tmp_path / "forebay.toml"),
        lambda: open_store(url),
        lambda: open_bucket(url),
        lambda: destination_at(url, "water"),
    ]
    for use in uses:
        with pytest.raises(ForebayError, match="come from the environment") as refused:
            use()
        assert "AKIAEXAMPLE" not in str(refused.value)
        assert "hush-hush" not in str(refused.value)


@pytest.mark.parametrize("path", ["a/../b", "../b", "./a", "a/.."])
def test_a_prefix_with_dots_is_refused(path: str) -> None:
    """It would be another place than the one that it names in a file system."""
    with pytest.raises(ValidationError, match=r"knows no '\.' and '\.\.'"):
        TierSpecification(url=f"s3://lab/{path}")
    assert TierSpecification(url="s3://lab//a//b/").url == "s3://lab/a/b"


def test_two_that_try_a_tier_out_at_once_are_not_in_each_others_way(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services on one ledger do, when something has failed: none may take the tier for broken."""
    tier = site.tiers["warm"]
    make_folders = durable.make_folders

    def others_come(path: Path) -> None:
        make_folders(path)
        monkeypatch.setattr(durable, "make_folders", make_folders)
        assert probe(tier).problem is None

    monkeypatch.setattr(durable, "make_folders", others_come)
    assert probe(tier).problem is None
    assert durable.make_folders is make_folders, "another one came"
    assert [each.name for each in (tier.folder or Path()).iterdir()] == []


def test_two_names_of_one_folder_are_one_place(tmp_path: Path) -> None:
    """Also where one of them is a link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "forebay.toml").write_text(
        '[tiers.hot]\nurl = "data"\n[tiers.cold]\nurl = "link/archive"\n'
    )
    with pytest.raises(ConfigError, match=r"tiers 'cold' \(.*link/archive\) and 'hot' .* share"):
        load_settings(tmp_path / "forebay.toml")


TIERS = """
[tiers.hot]
url = "hot"
[tiers.cold]
url = "cold"
[tiering]
"""
ROUND = """
policies = [
    {name = "out", from = "hot", to = "cold", when = "full", runs = "a*"},
    {name = "back", from = "cold", to = "hot", runs = "*b"},
]
"""
SHADOWED = """
policies = [
    {name = "all", from = "hot", to = "cold", unread_days = 5},
    {name = "some", from = "hot", to = "cold", unread_days = 9, keep = true, runs = "a*"},
]
"""
FROM_ARCHIVE = """
policies = [{name = "back", from = "deep", to = "hot"}]
[tiers.deep]
url = "s3://lab/deep"
storage_class = "GLACIER"
recall_cost_per_gb = 0.01
"""
TWICE = """
policies = [
    {name = "a", from = "hot", to = "cold", runs = "x"},
    {name = "a", from = "hot", to = "cold", runs = "y"},
]
"""
OUT = 'policies = [{name = "out", from = "hot", to = "cold"}]\n'


@pytest.mark.parametrize(
    ("tiering", "says"),
    [
        (ROUND, "policies 'out', 'back' move the same runs round and round, without end"),
        (SHADOWED, "policy 'some' never decides: 'all' before it fits every run that it fits"),
        (TWICE, "two policies are called 'a'"),
        (FROM_ARCHIVE, "set its recall_cost to what they may cost within 30 days"),
        (OUT.replace('"cold"}', '"cold", recall_cost = 3}'), "and 'hot' is no archive: what lies"),
        (OUT + "min_copies = 2", "policy 'out' would never end: min_copies = 2 other copies"),
        (OUT + "min_copies = 0", "it must be greater than 0"),
        (
            OUT.replace('"cold"', '"ice"'),
            "policy 'out': to = 'ice' is no tier; there are hot, cold",
        ),
        (OUT.replace('"cold"', '"hot"'), "moves runs from 'hot' to itself"),
        ("interval_seconds = 0", "it must be greater than 0"),
        ('recording_bandwidth = "fast"', "it must be a size such as"),
    ],
)
def test_policies_that_cannot_be_gone_by_are_refused(
    tmp_path: Path, tiering: str, says: str
) -> None:
    """In one sentence, before anything is moved."""
    (tmp_path / "forebay.toml").write_text(TIERS + tiering)
    with pytest.raises(ConfigError) as refused:
        load_settings(tmp_path / "forebay.toml")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def policy(name: str, **fields: Any) -> PolicySpecification:
    return PolicySpecification.model_validate({"name": name, "from": "hot", "to": "cold", **fields})


@given(
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=5),
    st.lists(st.sampled_from(["a", "b", "?", "*"]), max_size=5),
    st.lists(st.sampled_from("ab"), max_size=6),
)
def test_a_circle_is_found_wherever_one_name_fits_all_of_it(
    one: list[str], other: list[str], name: list[str]
) -> None:
    """Patterns that a name can fit both of are found to meet."""
    from fnmatch import fnmatchcase

    there, back = "".join(one), "".join(other)
    tiers = {each: TierSpecification(url=f"/{each}") for each in ("hot", "cold")}
    both = [policy("there", runs=there), policy("back", runs=back, **{"from": "cold", "to": "hot"})]
    fits = fnmatchcase("".join(name), there) and fnmatchcase("".join(name), back)
    if fits:
        with pytest.raises(ValueError, match="round and round"):
            check_policies(both, tiers)


def test_policies_that_only_copy_may_go_round() -> None:
    """When both copies are there, nothing is left to do."""
    tiers = {each: TierSpecification(url=f"/{each}") for each in ("hot", "cold")}
    back = {"from": "cold", "to": "hot", "keep": True}
    check_policies([policy("there", keep=True), policy("back", **back)], tiers)


HAND = ("ein Foto.png", "größe/ñ.txt", "a b/c d", "100%/x#1.bin", "%2e%2e/escape")


def test_what_somebody_has_put_into_a_tier_by_hand_stays(site: Site) -> None:
    """It is told of, whatever it is called, and neither read as a copy nor deleted."""
    for name in HAND:
        for place in ("cold", "cold/.forebay", "runs"):
            path = site.folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine")
    site.move("cold")
    found = scan(site.catalogue, site.tiers, repair=True)
    assert len(found.left_over) >= 1
    scan(site.catalogue, site.tiers, repair=True)
    site.move("hot")
    for name in HAND:
        for place in ("cold", "cold/.forebay", "runs"):
            assert (site.folder / place / name).read_bytes() == b"mine"
    site.check_readable()


def test_what_belongs_to_no_run_keeps_it_where_it_is(site: Site) -> None:
    """A file that was put into the folder of a run by hand is not lost by moving that."""
    (site.runs / "water" / "notes of ada.txt").write_text("mine")
    (passed_over,) = take_in_runs(site.catalogue, site.tiers)
    assert "notes of ada.txt belongs to no run: put it elsewhere" in passed_over
    assert site.catalogue.runs() == []
    site.check_readable()


@pytest.mark.parametrize("name", ["two words", "größe", "100% #1", "drop-1/été"])
def test_runs_of_any_name_are_moved_and_read(site: Site, name: str) -> None:
    """Also where the program that named it cared for no shell."""
    path = site.runs / name
    path.parent.mkdir(exist_ok=True)
    (site.runs / "water").rename(path)
    move = site.move("cold", name=name)
    assert move.state is MoveState.DONE, move.error
    assert site.lies_in(name) == {"cold"}
    site.check_readable(name)
    site.move("hot", name=name)
    assert site.lies_in(name) == {"hot"}
    site.check_readable(name)


@pytest.mark.parametrize("name", ["..", "../x", "a/../b", "", "/etc", "a\nb"])
def test_names_that_lead_elsewhere_are_none(name: str) -> None:
    """They are refused before anything is looked at."""
    with pytest.raises(RunNameError):
        check_run_name(name)
