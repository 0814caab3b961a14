"""Hub sources in all their ways to fail, searches of the Hub, and how much of a source is fetched."""

import io
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.hub_search import HubSearch
from tests.doubles.hub_server import HubServer
from tests.index.hub_process import ROOT, card, run

LETTERS = "".join(json.dumps({"letter": f"Dear farmer number {i}"}) + "\n" for i in range(30))


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def parquet(rows: int, row_group: int, first: int = 0, **more) -> bytes:
    texts = [
        f"letter {i} " + " ".join(str(hash((i, j)) % 10**9) for j in range(40)) for i in range(first, first + rows)
    ]
    table = pa.table({"text": texts, "picture": [texts[i].encode() * 5 for i in range(rows)], **more})
    out = io.BytesIO()
    pq.write_table(
        table, out, row_group_size=row_group, compression="none", use_dictionary=False, write_statistics=False
    )
    return out.getvalue()


def reasons(built: dict) -> dict[str, str]:
    return {source: reason for source, (reason, _) in built["skipped"].items()}


@pytest.mark.slow
def test_every_unusable_dataset_says_why_and_the_rest_is_built(hub, tmp_path):
    canary = tmp_path / "ran"
    hub.add_repo("org/good", {"README.md": card("mit", "Letters."), "train.jsonl": LETTERS})
    script = f"open({str(canary)!r}, 'w')\n"
    hub.add_repo("org/script", {"README.md": card("mit", "Made by a script."), "script.py": script})
    hub.add_repo(
        "org/script-too", {"script-too.py": script, "README.md": card("mit", "Both."), "train.jsonl": LETTERS}
    )
    hub.add_repo("org/empty", {"README.md": card("mit", "Nothing.")})
    hub.add_repo("org/pickled", {"README.md": card("mit", "Pickles."), "train.pkl": b"cos\nsystem\n(S'true'\ntR."})
    hub.add_repo("org/tars", {"README.md": card("mit", "Tars."), "train.tar": b"\0" * 10240})
    hub.add_repo("org/images", {"README.md": card("mit", "Images."), "train/a.png": b"\x89PNG"})
    (tmp_path / "secret.jsonl").write_text('{"letter": "a secret of this machine"}\n')
    steal = f"configs:\n- {{config_name: default, data_files: {tmp_path}/secret.jsonl}}\n"
    hub.add_repo("org/thief", {"README.md": card("mit", "Steals.", steal), "train.jsonl": LETTERS})
    hub.add_repo(
        "org/thief2", {"README.md": card("mit", "Steals."), ".huggingface.yaml": steal, "train.jsonl": LETTERS}
    )
    hub.add_repo("org/cut", {"README.md": card("mit", "Cut."), "train.parquet": parquet(10, 5)[:-10]})
    hub.add_repo("org/gone", {"README.md": card("mit", "Gone."), "train.jsonl": LETTERS})
    hub.repos["dataset", "org/gone"].disabled = True
    hub.add_repo("org/secret", {"README.md": card("mit", "Private."), "train.jsonl": LETTERS}, private=True)
    names = ["script", "script-too", "empty", "pickled", "tars", "images", "thief", "thief2", "cut", "gone", "secret"]
    built = run(hub, tmp_path, f"build(['org/' + name for name in {['good', *names]!r}])", token=None)
    assert [source["dataset"] for source in built["sources"]] == ["org/good"]
    assert reasons(built) == {
        "org/script": "script_only",
        "org/script-too": "script_only",
        "org/empty": "no_data_files",
        "org/pickled": "no_data_files",
        "org/tars": "unsupported_format",
        "org/images": "binary_only",
        "org/thief": "outside_files",
        "org/thief2": "outside_files",
        "org/cut": "unreadable",
        "org/gone": "disabled",
        "org/secret": "not_found",
    }
    assert not canary.exists()


@pytest.mark.slow
def test_a_search_takes_the_most_downloaded_and_pins_and_records_them(hub, tmp_path):
    hub.page = 2
    kind = "task_categories: [text-classification]\n"
    shas = {}
    for number, (license, language, downloads) in enumerate(
        [("mit", "en", 5), ("mit", "en", 90), ("apache-2.0", "en", 40), ("mit", "de", 99), ("cc-by-nc-4.0", "en", 50)]
    ):
        head = f"---\nlicense: {license}\nlanguage: {language}\n{kind}---\n\nLetters of the farmers, part {number}.\n"
        lines = json.dumps({"letter": f"Dear farmer {number}"}) + "\n"
        files = {"README.md": head, "train.jsonl": lines}
        shas[number] = hub.add_repo(f"org/part{number}", files, downloads=downloads)
    hub.add_repo("org/other", {"README.md": card("mit", "No task."), "train.jsonl": LETTERS}, downloads=1000)
    find = "build(HubSearch(['task_categories:text-classification'], ['en'], {}))"
    built = run(hub, tmp_path / "one", find.format("['mit', 'apache-2.0'], limit=2"))
    assert [(found["dataset"], found["revision"]) for found in built["sources"]] == [
        ("org/part1", shas[1]),
        ("org/part2", shas[2]),
    ]
    assert not built["skipped"]
    # Without licences of its own a search goes by the build's; what these refuse is passed over, and recorded.
    built = run(hub, tmp_path / "two", find.format("limit=3"))
    assert [found["dataset"] for found in built["sources"]] == ["org/part1", "org/part2", "org/part0"]
    assert reasons(built) == {"org/part4": "license_not_allowed"}
    # The page after the first was fetched by its Link.
    assert any("cursor=2" in request.path for request in hub.requests)
    code = """
try:
    build([HubSearch(["task_categories:none"])])
except RowIndexError as error:
    print(json.dumps({"error": str(error)}))
"""
    assert "task_categories:none (limit 100)`: nothing_found" in run(hub, tmp_path / "three", code)["error"]


def test_a_dataset_of_several_configurations_is_read_in_its_default_or_in_the_first_ones(hub, tmp_path):
    files = {f"{name}.jsonl": json.dumps({"letter": f"Dear {name}"}) + "\n" for name in ("ada", "lin", "max")}
    head = "configs:\n" + "".join(f"- {{config_name: {name[:-6]}, data_files: {name}}}\n" for name in files)
    hub.add_repo("org/many", {"README.md": card("mit", "Letters.", head), **files})
    marked = head.replace("{config_name: lin", "{config_name: lin, default: true")
    hub.add_repo("org/marked", {"README.md": card("mit", "Letters.", marked), **files})
    code = """
from rebase_hf.index.source_records import SourceLimits
found = opening.open_all(["org/many", "org/marked", "org/many:max"], licenses=None, limits=SourceLimits(max_configs=2))
print(json.dumps([[s.config, s.dataset] if hasattr(s, "config") else [s.reason, s.source] for s in found]))
"""
    assert run(hub, tmp_path, code) == [
        ["ada", "org/many"],
        ["lin", "org/many"],
        ["too_many_configs", "org/many"],
        ["lin", "org/marked"],
        ["max", "org/many"],
    ]


@pytest.mark.slow
def test_only_the_row_groups_and_columns_that_are_needed_are_fetched(hub, tmp_path):
    shards = [parquet(2000, 100, first=2000 * n) for n in range(2)]
    files = {f"data/train-{n:05d}-of-00002.parquet": shard for n, shard in enumerate(shards)}
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters."), **files})
    whole = sum(map(len, shards))
    text_bytes = sum(
        pq.ParquetFile(io.BytesIO(shard)).metadata.row_group(group).column(0).total_compressed_size
        for shard in shards
        for group in range(20)
    )

    def built(name: str, **options) -> tuple[dict, list[int], int]:
        hub.sent.clear()
        shown = run(hub, tmp_path / name, f"build(['org/letters'], **{options!r})")
        return shown["sources"][0], [row for row, _ in shown["rows"]], hub.bytes_sent(".parquet")

    footers = 7 * 65536  # pyarrow reads 64 kB for a footer; here to know the columns, at opening and at reading
    # Every second group holds a row that is due.
    source, rows, sent = built("even", max_rows_per_source=20)
    assert (source["sampling"], source["total_rows"], rows) == ("even", 4000, list(range(0, 4000, 200)))
    assert sent < text_bytes * 0.55 + footers < whole * 0.2
    # An eighth of the text is allowed: every 8th row group, evenly.
    source, rows, sent = built("groups", max_rows_per_source=100, max_source_bytes=text_bytes // 8)
    assert (source["sampling"], source["total_rows"], source["rows"]) == ("row_groups", 4000, 100)
    assert rows == [group * 800 + offset for group in range(5) for offset in range(0, 100, 5)]
    assert sent < text_bytes / 8 + footers
    # Not even one group is allowed: the beginning of the first.
    source, rows, sent = built("first", max_rows_per_source=10, max_source_bytes=1000)
    assert (source["sampling"], rows) == ("first_rows", list(range(10)))
    assert sent < text_bytes / 40 + footers


@pytest.mark.slow
def test_a_long_stream_is_sampled_from_its_beginning_and_says_so(hub, tmp_path):
    known = "dataset_info:\n  splits:\n  - {name: train, num_bytes: 1, num_examples: 30}\n"
    hub.add_repo("org/told", {"README.md": card("mit", "Letters.", known), "train.jsonl": LETTERS})
    hub.add_repo("org/untold", {"README.md": card("mit", "Letters."), "train.jsonl": LETTERS})
    code = "build(['org/told', 'org/untold'], max_rows_per_source=10, max_source_bytes={})"
    found = run(hub, tmp_path / "short", code.format(len(LETTERS)))
    assert [(s["sampling"], s["total_rows"]) for s in found["sources"]] == [("even", 30), ("first_rows", None)]
    found = run(hub, tmp_path / "shorter", code.format(len(LETTERS) - 1))
    assert [(s["sampling"], s["total_rows"]) for s in found["sources"]] == [("first_rows", 30), ("first_rows", None)]
    assert [row for row, _ in found["rows"]] == [*range(10), *range(10)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_read_that_hangs_ends_with_the_time_budget_and_the_process_ends_well(hub, tmp_path, kind):
    content = LETTERS if kind == "jsonl" else parquet(100, 10)
    hub.add_repo("org/hangs", {"README.md": card("mit", "Hangs."), f"train.{kind}": content})
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters."), "letters.csv": "letter\nDear Ada\n"})
    hub.stalled.append(f"train.{kind}")
    built = run(hub, tmp_path, "build(['org/hangs', 'org/letters'], max_source_seconds=4)")
    assert [source["dataset"] for source in built["sources"]] == ["org/letters"]
    assert reasons(built) == {"org/hangs": "time_budget"}


@pytest.mark.slow
def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub, tmp_path):
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters."), "train.jsonl": LETTERS})
    hub.failure_headers = {"Retry-After": "1"}
    hub.fail("GET", "/api/datasets/org/letters", 503)
    hub.fail("GET", "/api/datasets/org/letters", 429)
    code = "build(['org/letters'])"
    assert len(run(hub, tmp_path, code)["sources"]) == 1


def test_a_hub_that_stays_away_is_unreachable_and_only_the_first_source_waits(hub, tmp_path):
    hub.fail("GET", "/api/datasets/org/", 503, times=100)
    code = """
opening.WAITS = (0.01, 0.02)
from rebase_hf.index.source_records import SourceLimits
found = opening.open_all([f"org/n{i}" for i in range(3)], licenses=None, limits=SourceLimits())
print(json.dumps([s.reason for s in found]))
"""
    assert run(hub, tmp_path, code) == ["unreachable"] * 3
    assert len([request for request in hub.requests if request.path.startswith("/api/datasets/org/")]) == 3 + 1 + 1


def test_offline_nothing_is_asked(hub, tmp_path):
    code = """
from rebase_hf.index.source_records import SourceLimits
found = opening.open_all(["org/letters", HubSearch(["a:b"])], licenses=None, limits=SourceLimits())
print(json.dumps([s.reason for s in found]))
"""
    assert run(hub, tmp_path, code, HF_HUB_OFFLINE="1") == ["offline", "offline"]
    assert not hub.requests


@pytest.mark.slow
def test_the_same_revision_gives_the_same_index(hub, tmp_path):
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters."), "train.parquet": parquet(300, 20)})
    hub.add_repo("org/lines", {"README.md": card("mit", "Letters."), "train.jsonl": LETTERS})
    code = "build(['org/letters', 'org/lines'], max_rows_per_source=7, max_source_bytes=20_000)"
    one, two = (run(hub, tmp_path / name, code)["print"] for name in ("one", "two"))
    assert one == two


def test_a_token_goes_to_the_hub_and_into_no_file_of_the_index(hub, tmp_path):
    hub.add_repo("org/secret", {"README.md": card("mit", "Private."), "train.parquet": parquet(30, 10)}, private=True)
    code = f"build(['org/secret'], token={hub.read_token!r})"
    assert len(run(hub, tmp_path, code, token=None)["rows"]) == 30
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if hub.read_token.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (HubSearch(), "is the whole Hub"),
        (HubSearch(["a:b"], limit=0), "`limit` of a HubSearch is 0"),
        (HubSearch("a:b"), "expected a list of texts"),
        (HubSearch([" "]), "expected a list of texts"),
        (HubSearch(["a:b"], ["en"] * 13, ["mit"] * 5), "13 by 5 are more than 64"),
    ],
)
def test_a_search_that_can_not_be_made_is_an_error(search, said):
    with pytest.raises(RowIndexError, match=said):
        search.check()


@pytest.mark.slow
def test_the_command_line_searches_and_reads_a_list(hub, tmp_path):
    kind = "task_categories: [text-classification]\n"
    hostile = json.dumps({"letter": "Dear farmer \x1b]0;gone\x07 number \u202e9"}) + "\n"
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters.", kind), "train.jsonl": hostile}, downloads=3)
    hub.add_repo("org/lines", {"README.md": card("apache-2.0", "Letters."), "train.jsonl": LETTERS})
    (tmp_path / "list.txt").write_text("# from the Hub\norg/lines\n\n")
    from tests.doubles.tiny_models import make_static_encoder

    encoder = make_static_encoder(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", "from rebase_hf.cli import main; main()", "index", *map(str, arguments)],
            cwd=ROOT,
            env=hub.env(tmp_path) | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    built = command(
        "build", tmp_path / "idx", "--sources-file", tmp_path / "list.txt", "--encoder", encoder,
        "--hub-filter", "task_categories:text-classification", "--language", "en,de", "--license", "apache-2.0,mit",
        "--limit", 5,
    )  # fmt: skip
    assert built[0] == 0, built[2]
    assert "31 rows of 2 sources" in built[1]
    code, out, _ = command("search", tmp_path / "idx", "Dear farmer number 9", "-k", 31)
    assert code == 0
    assert "\\x1b]0;gone\\x07 number \\u202e9" in out
    assert all(line.isprintable() for line in out.splitlines())
    for arguments, said in [
        ((), "No source was given"),
        (("--limit", 5, "--source", "org/lines"), "--limit is of a search"),
        (("--hub-filter", "a:b", "--limit", 0), "`limit` of a HubSearch is 0"),
        (("--sources-file", tmp_path / "none.txt"), "can't be read"),
        (("--source", "org/lines", "--max-source-seconds", -1), "`max_source_seconds` is -1"),
    ]:
        code, _, err = command("build", tmp_path / "other", "--encoder", encoder, *arguments)
        assert (code, said in err, len(err.splitlines())) == (2, True, 1), err
