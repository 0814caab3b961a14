import pytest

from rebase_hf.index.junk import ColumnJudge, is_junk

JUNK = {
    "booleans": ["True", "false", "0", "1", "None", "null", "N/A"],
    "numbers": ["42", "-3.5", "1,234.50", "12 %", "$5.00", "€ 3", "1e-5", "3/4", "1.", "23–16"],
    "dates": [
        "2021-03-04",
        "04/05/2021",
        "2021-03-04T10:00:00Z",
        "2020-06-05 22:56:58 UTC",
        "12:30",
        "5 pm",
        "March 4, 2021",
        "May 2020",
    ],
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
    "answer": ["yes", "no", "No", "Yes "],
}
REAL = [
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


def judged(**columns: list[str]) -> frozenset[str]:
    judge = ColumnJudge()
    for name, texts in columns.items():
        for text in texts:
            judge.see(name, text, junk=is_junk(text))
    return judge.junk_columns()


def test_a_column_is_junk_when_nine_tenths_of_its_cells_are():
    assert judged(size=["17"] * 9 + ["very large"], note=["17"] * 8 + ["very large"] * 2, text=["a letter"]) == {
        "size"
    }


def test_a_column_of_codes_cut_to_one_pattern_is_junk():
    assert judged(id=[f"seed_task_{n}" for n in range(30)], title=["Super_Bowl_50", "World_War_2", "Title"]) == {"id"}


def test_a_column_that_is_called_an_id_and_holds_single_words_is_junk():
    names = ["hotel", "flight-b", "music"] * 5
    assert judged(instruction_id=names, docId=names, ID=names, paid=names, valid=names, user_ids=names) == {
        *("instruction_id", "docId", "ID", "user_ids")
    }
    assert judged(id=["what a guest asks for", "a flight to Rome"] * 5) == frozenset()


def test_texts_of_a_script_without_blanks_are_no_codes():
    assert judged(text=[f"第{n}回の手紙は{chr(0x4E00 + n)}について" for n in range(30)]) == frozenset()
