import pytest

from rebase_hf.index.junk import is_junk, junk_columns

JUNK = {
    "booleans": ["True", "false", "0", "1", "None", "null", "N/A"],
    "numbers": ["42", "-3.5", "1,234.50", "12 %", "$5.00", "€ 3", "1e-5", "3/4", "1."],
    "dates": ["2021-03-04", "04/05/2021", "2021-03-04T10:00:00Z", "12:30", "5 pm", "March 4, 2021", "May 2020"],
    "lists": ["0, 1, 2", "[0, 0, 7, 8]", "1\n2\n3", "true false", "O O B-PER I-PER O", "A B C D"],
    "ids": [
        "550e8400-e29b-41d4-a716-446655440000",
        "a4892551cb4beb279653ae52d0de4c89",
        "abc_123",
        "train-00012",
        "TR-0",
        "Q42",
        "B000FA64PK",
        "https://example.org/a?b=c",
        "someone@example.org",
        "img/0001.jpg",
        "cat.png",
        "/m/02mjmr",
    ],
    "short": ["ok", "A", "!!!", "-"],
}
REAL = [
    "yes",
    "no",
    "No",
    "positive",
    "card_arrival",
    "Super_Bowl_50",
    "I am",
    "to be",
    "What is 2+2?",
    "not ( True ) and ( True ) is",
    "3 dogs ran",
    "Paris",
    "May",
    "iPhone",
    "e-mail",
    "covid-19",
    "19th century",
    "and/or",
    "猫",
    "東京",
]


@pytest.mark.parametrize("text", [text for texts in JUNK.values() for text in texts])
def test_cells_that_say_nothing_are_junk(text):
    assert is_junk(text)


@pytest.mark.parametrize("text", REAL)
def test_words_are_no_junk(text):
    assert not is_junk(text)


def test_a_long_list_of_tag_ids_is_junk_and_a_long_text_is_not():
    assert is_junk(str([0, 0, 7, 8, 0] * 200))
    assert not is_junk(str([0, 0, 7, 8, 0] * 200) + " dog")


def test_a_column_is_junk_when_nine_tenths_of_its_cells_are():
    counts = {"size": 10, "note": 10, "text": 10}
    assert junk_columns(counts, {"size": 9, "note": 8}) == {"size"}
