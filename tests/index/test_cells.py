from datetime import datetime

import pytest
from datasets import ClassLabel, Features, Image, List, Value

from rebase_hf.index.cells import MAX_CELL_CHARS, has_text, row_cells

TONE = ClassLabel(names=["kind", "rude"])


def test_nested_fields_are_flattened_with_dots_and_keep_their_order():
    row = {"question": "Who?", "answers": {"text": ["Ada"], "start": [3]}, "meta": {"by": {"name": "Lin"}}}
    assert list(row_cells(row, None).items()) == [
        ("question", "Who?"),
        ("answers.text", "Ada"),
        ("answers.start", "3"),
        ("meta.by.name", "Lin"),
    ]


def test_class_ids_are_decoded_only_where_the_feature_is_a_class_label():
    features = Features({"width_id": Value("int64"), "label": TONE, "labels": List(TONE), "deep": {"tone": TONE}})
    row = {"width_id": 1, "label": 1, "labels": [0, 1], "deep": {"tone": 0}}
    assert row_cells(row, features) == {
        "width_id": "1",
        "label": "rude",
        "labels": "kind\nrude",
        "deep.tone": "kind",
    }


def test_a_class_id_without_a_name_is_left_out():
    assert row_cells({"label": -1}, Features({"label": TONE})) == {}
    assert row_cells({"label": 7}, Features({"label": TONE})) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["first choice", "second"], "first choice\nsecond"),
        (["O", "they", "came", "from", "the", "far", "east", "coast", "."], "O they came from the far east coast ."),
        ([1, 2, 3], "1, 2, 3"),
        ([{"role": "user", "text": "Hello"}, {"role": "bot", "text": None}], "role: user\ntext: Hello\n\nrole: bot"),
        ([["a", 1], ["b", 2]], '[["a", 1], ["b", 2]]'),
        (datetime(2024, 5, 6, 7, 8), "2024-05-06T07:08:00"),
        (True, "True"),
        (2.5, "2.5"),
        ("a\ud83db", "a\ufffdb"),
        ("  padded ", "padded"),
    ],
)
def test_values_become_text(value, text):
    assert row_cells({"cell": value}, None) == {"cell": text}


@pytest.mark.parametrize("value", [None, "", "  ", [], [None], {}, float("nan"), b"\x00\x01", [b"\x00"]])
def test_values_without_text_are_left_out(value):
    assert row_cells({"cell": value}, None) == {}


def test_images_bytes_and_what_holds_only_these_are_no_text():
    features = Features({"image": Image(), "raw": Value("binary"), "pages": List(Image()), "text": Value("string")})
    row = {"image": {"bytes": b"\x89PNG", "path": "cat.png"}, "raw": b"x", "pages": [{"path": "p"}], "text": "A cat"}
    assert row_cells(row, features) == {"text": "A cat"}
    assert [name for name, feature in features.items() if has_text(feature)] == ["text"]


def test_a_huge_text_is_cut():
    assert len(row_cells({"cell": "word " * MAX_CELL_CHARS}, None)["cell"]) == MAX_CELL_CHARS
