"""`rebase-hf index`, through the command line's own entry point."""

import json
import sys
from pathlib import Path

import pytest

from rebase_hf.cli import main
from tests.doubles.tiny_models import make_static_encoder
from tests.index.conftest import COMPLAINTS, REVIEWS, write_source

ROOT = Path(__file__).parent.parent


@pytest.fixture
def command(monkeypatch, capsys, home):
    """Run the command line in this process; return its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rebase-hf", "index", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return call


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_static_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def complaints(tmp_path):
    return write_source(tmp_path / "complaints", COMPLAINTS)


@pytest.fixture
def reviews(tmp_path):
    return write_source(tmp_path / "film_reviews", REVIEWS, license="cc-by-4.0")


@pytest.fixture
def built(command, encoder, complaints, reviews, tmp_path):
    """The folder of an index of both, without words."""
    given = ("--source", complaints, "--source", reviews, "--encoder", encoder, "--no-words")
    code, _, err = command("build", tmp_path / "idx", *given)
    assert code == 0, err
    return tmp_path / "idx"


def test_an_index_is_built_shown_checked_and_searched(command, encoder, tmp_path):
    bank = ROOT / "examples/bank"
    code, out, err = command(
        "build", tmp_path / "idx", "--encoder", encoder, "--source", bank / "parcel_mail",
        "--source", bank / "subscription_complaints", "--source", bank / "forum_rants", "--fast",
    )  # fmt: skip
    assert code == 0, err
    assert "license_not_allowed" in out and "unknown_license" in out and "`cc-by-nc-4.0` is not allowed" in out
    assert command("verify", tmp_path / "idx")[0] == 0
    code, out, _ = command("search", tmp_path / "idx", "where is my parcel", "-k", 3)
    assert code == 0 and len(out.strip().splitlines()) == 3 and "parcel_mail[" in out
    code, out, _ = command("info", tmp_path / "idx", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["parameters"]["fast"] is True and facts["sources"][0]["dataset"] == "parcel_mail"


def test_info_tells_segments_words_and_roles_shortly(command, built):
    code, out, _ = command("info", built)
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith(f"{built}: 7 rows of 2 sources, 17 vectors, ")
    assert lines[1] == "1 segment, 0 rows of sources that are gone, words not indexed"
    assert lines[2].startswith("fingerprint ") and lines[3] == "rows by licence: cc-by-4.0 3, mit 4"
    assert lines[4].startswith("columns by role: ") and "text " in lines[4]
    assert [line.split()[0] for line in lines[5:]] == ["complaints", "film_reviews"]


def test_verify_reads_files_that_are_remembered_too(command, built):
    assert command("verify", built)[:2] == (0, "Every file is as it was built.\n")
    victim = next(built.glob("segment-*/rows.bin"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, out, err = command("verify", built)
    assert code == 2 and out == "" and f"{victim} is damaged: its sha256" in err and len(err.splitlines()) == 1


def test_sources_are_added_refreshed_and_removed(command, built, tmp_path, reviews):
    letters = write_source(tmp_path / "letters", [{"letter": f"Dear farmer number {n}"} for n in range(5)])
    code, out, err = command("add", built, "--source", letters)
    assert code == 0, err
    assert f"{built}: 12 rows of 3 sources" in out and "2 segments, 0 rows of sources that are gone" in out
    (tmp_path / "more.txt").write_text(f"# again\n{letters}\n")
    code, out, _ = command("add", built, "--sources-file", tmp_path / "more.txt")
    assert code == 0 and out.startswith("Nothing has changed.\n")
    assert command("refresh", built)[1].startswith("Nothing has changed.\n")
    Path(reviews, "train.jsonl").write_text(json.dumps({"review": "A film about a dog"}) + "\n")
    code, out, err = command("refresh", built, "film_reviews", "complaints")
    assert code == 0, err
    assert "10 rows of 3 sources" in out
    code, out, err = command("remove", built, "complaints", "letters")
    assert code == 0, err
    assert "1 rows of 1 sources" in out
    assert "film_reviews[0].review  A film about a dog" in command("search", built, "dog")[1]


def test_a_search_is_held_to_sources_licences_languages_and_roles(command, built):
    def rows(*options):
        code, out, err = command("search", built, "charged twice", "-k", 50, *options)
        assert code == 0, err
        return [line.split("  ")[1] for line in out.splitlines()]

    assert len(rows()) == 7
    assert rows("--source", "film_reviews", "-k", 1) == ["film_reviews[2].review"]
    assert len(rows("--source", "film_reviews::train,complaints")) == 7
    assert {row.split("[")[0] for row in rows("--license", "mit,isc")} == {"complaints"}
    assert len(rows("--language", "de,en")) == 7
    assert rows("--language", "de") == []
    assert "No row was found." in command("search", built, "charged", "--language", "de")[2]
    assert {row.split(".")[-1] for row in rows("--role", "label", "--role", "title")} <= {"team", "urgent", "stars"}


def test_words_are_searched_and_what_counted_is_shown(command, encoder, complaints, reviews, tmp_path):
    pytest.importorskip("tantivy")
    pytest.importorskip("rebase_hf.index.lexical_building")
    given = ("--source", complaints, "--source", reviews, "--encoder", encoder, "--words")
    code, out, err = command("build", tmp_path / "words", *given)
    assert code == 0, err
    assert "words indexed" in out
    code, out, err = command("search", tmp_path / "words", "wrong invoice", "--mode", "lexical")
    assert code == 0, err
    (line,) = out.splitlines()
    score, bm25, row, _ = line.split("  ")
    assert -1.0 <= float(score) <= 1.0 and float(bm25.removeprefix("bm25 ")) > 0 and row.startswith("complaints[2].")
    code, out, err = command("search", tmp_path / "words", "wrong invoice", "--mode", "both", "-k", 2)
    assert code == 0, err
    first, second = out.splitlines()
    assert [part.split()[0] for part in first.split("  ")[1:3]] == ["bm25", "fused"] and "complaints[2]." in first
    assert "fused" in second and "bm25" not in second


WRONG = {
    ("search", "IDX", "x", "--mode", "fuzzy"): "`mode` is `fuzzy`; expected one of dense, lexical, both.",
    ("search", "IDX", "x", "--mode", "lexical"): "was built without its words",
    ("search", "IDX", "x", "--source", "film"): "has no source `film`; `rebase-hf index info` lists them",
    ("search", "IDX", "x", "--role", "colour"): "`colour` is no column role; expected some of question,",
    ("info", "IDX", "--revision", "v1"): "is a folder here, and has no revision `v1`",
    ("info", "nowhere"): "Index `nowhere` is neither a folder here nor a Hub dataset repo",
    ("add", "IDX"): "No source was given; name one with --source or --sources-file.",
    ("add", "IDX", "--source", "./nothing"): "Nothing was added to",
    ("add", "nowhere", "--source", "x"): "There is no index at nowhere; build one with",
    ("add", "IDX", "--sources-file", "none.txt"): "--sources-file none.txt can't be read",
    ("remove", "IDX", "letters"): "has no source `letters`",
    ("remove", "IDX", "complaints", "film_reviews"): "Nothing would be left of",
    ("refresh", "IDX", "letters"): "has no source `letters`",
    ("push", "IDX", "not a/valid id"): "could not be put into `not a/valid id`",
}


def test_a_wrong_request_is_one_line_and_exit_code_2(command, built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, expected in WRONG.items():
        code, out, err = command(*(built if word == "IDX" else word for word in words))
        told = [line for line in err.splitlines() if line.startswith("Error: ")]
        assert (code, out, len(told)) == (2, "", 1), (words, err)
        assert expected in told[0], words
        assert "Traceback" not in err


def test_search_needs_a_number_of_rows_above_zero(command, built):
    code, _, err = command("search", built, "where is it", "-k", "-3")
    assert code == 2 and "greater than or equal to 1" in err


@pytest.mark.parametrize("verb", ["build", "add", "remove", "refresh", "info", "verify", "search", "push"])
def test_help_shows_an_example_of_every_verb(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0 and f"Example: rebase-hf index {verb} " in " ".join(out.split())
