import numpy as np
import pytest
from datasets import Dataset

from rebase_hf import RowIndex, Task
from rebase_hf.methods.columns import FieldColumns
from rebase_hf.methods.scoring import embed_task
from tests.index.hashing_encoder import HashingEncoder

TASK = {
    "name": "desk",
    "instruction": "Name the desk for a customer message.",
    "inputs": ["message"],
    "output": "desk",
    "labels": ["money", "parcels"],
    "examples": [
        {"message": "refund my order please", "desk": "money"},
        {"message": "my order is late", "desk": "parcels"},
    ],
}


def columns_of(index, task, key, *, junk=False):
    task = Task.load(task)
    columns = FieldColumns(task, index, embed_task(task, index), junk=junk)
    return columns.of(int(index.sources_of([key])[0]), index.rows([key])[0])


def chats(tmp_path, **columns):
    return RowIndex.build(tmp_path / "index", [Dataset.from_dict(columns)], encoder=HashingEncoder(), licenses="any")


def test_a_columns_name_decides_between_equal_contents(tmp_path):
    texts = [f"where is my order number {n}" for n in ("one", "two", "three")]
    answers = [f"here is my order number {n}" for n in ("one", "two", "three")]
    index = chats(tmp_path, agent_answer=answers, customer_message=texts)
    assert columns_of(index, TASK, 1) == {"message": "customer_message"}


def test_content_decides_where_names_say_nothing(tmp_path):
    index = chats(
        tmp_path,
        alpha=["blue whales sing", "pine trees grow", "rivers freeze"],
        beta=["refund my late order", "my order is late please", "refund please"],
    )
    assert columns_of(index, TASK, 0) == {"message": "beta"}


def test_a_source_has_one_column_for_a_field_in_all_its_rows(tmp_path):
    index = chats(
        tmp_path,
        message=["something else entirely", "my order is late", "refund my order"],
        reply=["refund my order please now", "thanks", "you are welcome"],
    )
    assert {columns_of(index, TASK, key)["message"] for key in range(3)} == {"message"}


def test_a_row_without_the_column_gets_the_next_one(tmp_path):
    index = chats(tmp_path, message=["my order is late", None], subject=["a late order", "refund my order"])
    assert columns_of(index, TASK, 1) == {"message": "subject"}


def test_two_inputs_get_two_columns(tmp_path):
    pairs = TASK | {
        "inputs": ["premise", "hypothesis"],
        "examples": [{"premise": "the cat sleeps", "hypothesis": "an animal sleeps", "desk": "money"}],
    }
    index = chats(
        tmp_path, premise=["the dog sleeps", "the cat eats"], hypothesis=["an animal sleeps", "an animal eats"]
    )
    assert columns_of(index, pairs, 0) == {"premise": "premise", "hypothesis": "hypothesis"}


def test_column_scores_are_means_over_the_rows_cells(tmp_path):
    index = chats(tmp_path, a=["red apple", "green pear"], b=["red apple", "12"])
    query = index.encoder.encode(["red apple"])
    means = index.column_scores(query, np.arange(2))
    cells = index.encoder.encode(["red apple", "green pear"]).astype(np.float16).astype(np.float32)
    assert np.allclose(means[0], (cells @ query[0]).mean(), atol=1e-3)
    assert np.allclose(means[1], 1.0, atol=1e-3)


def test_a_column_of_labels_stands_for_an_input_that_is_called_so_alone(tmp_path):
    texts = [f"my order {word} is late" for word in [*"abcdefghij"]]
    index = chats(tmp_path, template=["ask late order", "my late order"] * 5, text=texts)
    assert columns_of(index, TASK, 0) == {"message": "text"}
    two = TASK | {"inputs": ["message", "template"], "examples": [e | {"template": "b"} for e in TASK["examples"]]}
    assert columns_of(index, two, 0) == {"message": "text", "template": "template"}
    other = TASK | {"inputs": ["message", "form"], "examples": [e | {"form": "b"} for e in TASK["examples"]]}
    assert columns_of(index, other, 0) == {"message": "text", "form": "text"}


def test_a_column_of_answers_is_no_input_beside_what_it_answers(tmp_path):
    near, far = (
        ["refund my order please", "my order is late"],
        ["pine trees grow slowly by the river", "rivers freeze"],
    )
    index = chats(tmp_path, response=near, body=far)
    assert columns_of(index, TASK, 0) == {"message": "body"}
    assert columns_of(index, TASK, 0, junk=True) == {"message": "response"}
    judged = TASK | {
        "inputs": ["message", "answer"],
        "examples": [e | {"answer": "refund my order"} for e in TASK["examples"]],
    }
    assert columns_of(index, judged, 0) == {"message": "body", "answer": "response"}


@pytest.mark.parametrize("beside", [{}, {"author": ["Nora", "Ida"]}, {"author": ["Nora", "Ida"], "label": ["a", "b"]}])
def test_a_column_of_answers_may_stand_where_nothing_else_is_as_long(tmp_path, beside):
    index = chats(tmp_path, response=["refund my order please", "my order is late"], **beside)
    assert columns_of(index, TASK, 0) == {"message": "response"}


def test_a_question_is_what_an_answer_answers_however_short(tmp_path):
    index = chats(tmp_path, question=["pines?", "rivers?"], response=["refund my order please", "my order is late"])
    assert columns_of(index, TASK, 0) == {"message": "question"}
