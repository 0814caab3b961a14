import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.roles import LABEL_REPEATS, ROLES, RoleJudge, check_roles
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import write_source


def role_of(column, texts, classes=()):
    judge = RoleJudge(classes)
    for text in texts:
        judge.see(column, text)
    return judge.roles([column])[0]


@pytest.mark.parametrize(
    ("column", "role"),
    [
        ("question", "question"),
        ("question_text", "question"),
        ("questionText", "question"),
        ("answers.text", "answer"),
        ("correct_answer", "answer"),
        ("coarse_label", "label"),
        ("Headline", "title"),
        ("wikipedia_passage", "context"),
        ("question_title", "title"),
        ("review", "text"),
    ],
)
def test_a_name_tells_what_a_column_is_for(column, role):
    assert role_of(column, [f"some words number {n}" for n in range(9)]) == role


def test_contents_tell_where_names_do_not():
    assert role_of("kind", ["billing", "delivery"] * LABEL_REPEATS) == "label"
    assert role_of("kind", ["billing", "delivery"] * (LABEL_REPEATS - 1)) == "text"
    assert role_of("kind", [f"word {n % 51}" for n in range(1000)]) == "text"
    assert role_of("notes", ["a long text " * 60] * 3) == "context"
    assert role_of("notes", ["a long text " * 60, *["short"] * 3]) == "text"


def test_class_names_are_labels_whatever_the_column_is_called():
    assert role_of("answer", [f"value {n}" for n in range(9)], classes={"answer"}) == "label"


def test_an_unknown_role_is_refused_with_those_that_there_are():
    assert check_roles(["answer", "question"]) == {"answer", "question"}
    with pytest.raises(RowIndexError, match=r"`reply` is no column role; expected some of question, answer"):
        check_roles(["answer", "reply"])
    with pytest.raises(RowIndexError, match="`roles` is empty"):
        check_roles([])


def test_every_role_that_is_given_is_a_known_one(tmp_path, encoder):
    rows = [
        {"question": f"What is {n}?", "label": "yes" if n % 2 else "no", "notes": "words " * 200} for n in range(20)
    ]
    index = RowIndex.build(tmp_path / "index", [write_source(tmp_path / "rows", rows)], encoder=encoder)
    about = index.sources[0]
    assert dict(zip(about.columns, about.roles, strict=True)) == {
        "question": "question",
        "label": "label",
        "notes": "context",
    }
    assert set(about.roles) <= set(ROLES)
