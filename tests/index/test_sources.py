import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from rebase_hf.errors import RowIndexError
from rebase_hf.index.licenses import DEFAULT_LICENSES, allowed_licenses, license_refusal
from rebase_hf.index.opening import open_all
from rebase_hf.index.source_records import SkippedSource, SourceLimits
from rebase_hf.index.sources import Source
from tests.index.conftest import COMPLAINTS, write_source

ANY = None


def opened(source, licenses=ANY, **limits):
    (only,) = open_all([source], licenses=licenses, limits=SourceLimits(**limits))
    return only


def open_source(source, licenses=ANY, **limits) -> Source:
    found = opened(source, licenses, **limits)
    assert isinstance(found, Source), found
    return found


def reason_of(source, licenses=ANY, **limits) -> str:
    found = opened(source, licenses, **limits)
    assert isinstance(found, SkippedSource), found
    return found.reason


def test_a_folder_is_read_with_what_its_card_says(tmp_path):
    path = write_source(tmp_path / "complaints", COMPLAINTS, about="Complaints of customers to a shop.")
    source = open_source(path, licenses=["mit"])
    assert (source.dataset, source.config, source.split) == ("complaints", None, "train")
    assert (source.license, source.language, source.url) == ("mit", ("en",), None)
    assert source.description == "Complaints of customers to a shop."
    assert source.total_rows == 4
    assert [row for row, _ in source.sampled_rows(1000)] == [0, 1, 2, 3]
    assert next(source.sampled_rows(1))[1] == {
        "id": "c-001",
        "text": "My parcel never arrived and nobody answers",
        "team": "delivery",
        "urgent": "True",
    }


def test_the_revision_is_of_the_data_and_not_of_its_place_or_card(tmp_path):
    one = open_source(write_source(tmp_path / "a" / "rows", COMPLAINTS), licenses=ANY)
    same = open_source(write_source(tmp_path / "b" / "rows", COMPLAINTS, about="Other words, as many."), licenses=ANY)
    other = open_source(write_source(tmp_path / "c" / "rows", COMPLAINTS[:3]), licenses=ANY)
    assert len(one.revision) == 40
    assert one.revision == same.revision != other.revision


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_files_are_read(tmp_path, kind):
    rows = Dataset.from_list([{"text": "A parcel", "n": 1}, {"text": "An invoice", "n": 2}])
    path = tmp_path / f"letters.{kind}"
    {"jsonl": rows.to_json, "json": rows.to_json, "csv": rows.to_csv, "parquet": rows.to_parquet}[kind](str(path))
    source = open_source(path, licenses=ANY)
    assert source.dataset == "letters"
    assert [cells for _, cells in source.sampled_rows(10)] == [
        {"text": "A parcel", "n": "1"},
        {"text": "An invoice", "n": "2"},
    ]


def test_config_and_split_of_a_folder_can_be_named(tmp_path):
    head = """
configs:
- config_name: day
  data_files: [{split: train, path: train.jsonl}, {split: test, path: test.jsonl}]
- config_name: night
  data_files: night.jsonl
"""
    path = Path(write_source(tmp_path / "odd:name", [{"text": "sun"}], head=head))
    (path / "test.jsonl").write_text('{"text": "noon"}\n')
    (path / "night.jsonl").write_text('{"text": "moon"}\n')
    read = {
        address: next(open_source(f"{path}{address}", licenses=ANY).sampled_rows(1))[1]["text"]
        for address in (":day", ":day:test", ":night", ":night:train")
    }
    assert read == {":day": "sun", ":day:test": "noon", ":night": "moon", ":night:train": "moon"}
    assert reason_of(f"{path}:day:dusk") == "not_found"
    assert reason_of(f"{path}:dawn") == "unreadable"


def test_only_train_is_read_and_the_first_split_where_there_is_no_train(tmp_path):
    path = Path(write_source(tmp_path / "rows", [{"text": "to train on"}]))
    (path / "test.jsonl").write_text('{"text": "to test on"}\n')
    assert open_source(path, licenses=ANY).split == "train"
    (path / "train.jsonl").unlink()
    assert open_source(path, licenses=ANY).split == "test"


@pytest.mark.parametrize(
    ("total", "limit", "rows"),
    [(10, 10, range(10)), (10, 4, (0, 3, 6, 9)), (1999, 3, (0, 667, 1334)), (1999, 1000, range(0, 1999, 2))],
)
def test_sampling_is_even_and_keeps_the_rows_places_in_the_source(tmp_path, total, limit, rows):
    path = write_source(tmp_path / "rows", [{"text": f"letter number {i}"} for i in range(total)])
    source = open_source(path, licenses=ANY)
    sampled = list(source.sampled_rows(limit))
    assert [row for row, _ in sampled] == list(rows)
    assert source.sample_size(limit) == len(sampled) <= limit
    assert all(cells["text"] == f"letter number {row}" for row, cells in sampled)


def test_class_labels_of_a_card_are_decoded_and_ids_of_other_columns_are_not(tmp_path):
    head = """
dataset_info:
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: {class_label: {names: {'0': kind, '1': rude}}}}
  - {name: width_id, dtype: int64}
"""
    path = write_source(tmp_path / "tone", [{"text": "Thanks", "label": 1, "width_id": 1}], head=head)
    assert next(open_source(path, licenses=ANY).sampled_rows(1))[1] == {
        "text": "Thanks",
        "label": "rude",
        "width_id": "1",
    }


def test_a_dataset_object_is_pinned_by_its_rows():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["kind", "rude"])})
    rows = [{"text": "Thank you so much", "label": 0}, {"text": "Go away", "label": 1}]
    one, same = (open_source(Dataset.from_list(rows, features=features), licenses=ANY) for _ in range(2))
    other = open_source(Dataset.from_list(rows[:1], features=features), licenses=ANY)
    assert one.revision == same.revision != other.revision
    assert list(one.sampled_rows(10)) == [
        (0, {"text": "Thank you so much", "label": "kind"}),
        (1, {"text": "Go away", "label": "rude"}),
    ]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ("mit", None),
        ("MIT", None),
        ("[mit, cc-by-4.0]", None),
        ("[mit, cc-by-nc-4.0]", "license_not_allowed"),
        ("cc-by-nd-4.0", "license_not_allowed"),
        ("other", "license_not_allowed"),
        ("unknown", "unknown_license"),
        (None, "unknown_license"),
    ],
)
def test_the_default_policy_takes_open_licences_only(tmp_path, held, reason):
    path = write_source(tmp_path / "rows", COMPLAINTS, license=held)
    if reason is None:
        open_source(path, licenses=allowed_licenses(DEFAULT_LICENSES))
    else:
        assert reason_of(path, licenses=allowed_licenses(DEFAULT_LICENSES)) == reason
    assert open_source(path, licenses=allowed_licenses("any")).total_rows == 4


def test_the_default_licences_hold_no_non_commercial_or_no_derivatives_one():
    assert not [name for name in DEFAULT_LICENSES if "-nc" in name or "-nd" in name]
    assert license_refusal(["cc-by-sa-4.0"], DEFAULT_LICENSES) is None


def test_an_empty_policy_is_refused():
    with pytest.raises(RowIndexError, match="`licenses` is empty"):
        allowed_licenses([])


def test_the_licence_is_checked_before_the_data_is_read(tmp_path):
    path = Path(write_source(tmp_path / "rows", COMPLAINTS, license="cc-by-nc-4.0"))
    (path / "train.jsonl").write_text("{not json")
    assert reason_of(path, licenses=["mit"]) == "license_not_allowed"


def test_unusable_sources_say_why(tmp_path):
    assert reason_of(str(tmp_path / "nowhere")) == "not_found"
    assert reason_of("./nowhere.jsonl") == "not_found"
    assert reason_of(tmp_path / "nowhere") == "not_found"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert reason_of(empty) == "unreadable"
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    assert reason_of(tmp_path / "rows.xlsx") == "unreadable"
    long = write_source(tmp_path / "long", COMPLAINTS)
    assert reason_of(long, max_source_rows=3) == "too_many_rows"
    broken = Path(write_source(tmp_path / "broken", COMPLAINTS))
    (broken / "README.md").write_text("---\nlicense: [mit\n---\n")
    assert reason_of(broken) == "unreadable"


def test_a_source_of_bytes_only_is_left_out(tmp_path):
    path = tmp_path / "bytes.parquet"
    Dataset.from_list([{"raw": b"\x00"}], features=Features({"raw": Value("binary")})).to_parquet(str(path))
    assert reason_of(path) == "binary_only"


def test_data_that_breaks_off_is_unreadable(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "whole"}) + '\n{"text": "brok')
    assert reason_of(path) == "unreadable"


def test_sources_need_enough_columns_that_can_hold_words(tmp_path):
    numbers = write_source(tmp_path / "numbers", [{"a": 1, "b": 2.5}])
    assert reason_of(numbers) == "no_text_columns"
    path = write_source(tmp_path / "rows", [{"text": "A parcel", "n": 1, "notes": [{"by": "Ada"}]}])
    assert open_source(path, min_text_columns=2).total_rows == 1
    found = opened(path, min_text_columns=3)
    assert (found.reason, found.detail) == (
        "too_few_text_columns",
        "2 can hold text (text, notes), fewer than 3",
    )


@pytest.mark.parametrize(
    "named",
    ["/etc/passwd", "../secret.jsonl", "https://example.org/x.jsonl", "zip://a::b.zip", "~/x.csv", "C:/x.csv"],
)
def test_a_card_that_names_data_files_outside_of_its_folder_is_refused(tmp_path, named):
    (tmp_path / "secret.jsonl").write_text('{"text": "a secret"}\n')
    head = f"configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ['{named}']\n"
    assert reason_of(write_source(tmp_path / "rows", COMPLAINTS, head=head)) == "outside_files"


def test_what_a_skipped_source_says_can_not_drive_a_terminal(tmp_path):
    head = 'configs:\n- {config_name: default, data_files: {"a\\e[2Jb": train.jsonl}}\n'
    path = write_source(tmp_path / "rows", COMPLAINTS, head=head)
    found = opened(f"{path}:default:dusk\x1b]0;gone\x07")
    assert found.reason in ("not_found", "unreadable")
    assert found.source.isprintable()
    assert found.detail.isprintable()


def test_what_is_no_source_at_all_is_an_error():
    with pytest.raises(RowIndexError, match="is a int; expected"):
        open_source(7, licenses=ANY)
