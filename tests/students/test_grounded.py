import json
import logging

import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.methods.grounded_text import passage_text
from rebase_hf.students import load_student, train_student
from rebase_hf.students.consulting import ConsultedStudent
from rebase_hf.students.grounded_training import training_texts
from rebase_hf.students.reading import Reading
from rebase_hf.students.student import training_rows
from tests.students.grounded_data import Recording, make_index, make_rows, make_task

LABELS = ("yes", "no")
QUESTIONS = ["can pearl float", "can ruby float", "can garnet float"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("stones") / "stones-index")


@pytest.fixture(scope="module")
def options(tiny_bert):
    return {"reranker_model": tiny_bert, "reading": Reading(votes=3, max_tokens=16)}


@pytest.fixture(scope="module")
def saved(index, options, tiny_t5, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounded") / "student"
    student = train_student(
        make_task(), make_rows(), base_model=tiny_t5, index=index, **options, max_pairs=80, output_dir=folder
    )
    return student, folder


def test_rows_with_passages_make_a_student_that_reads(saved):
    student, _ = saved
    assert student.kind == "grounded"
    assert student.reading == Reading(passages=1, votes=3, max_tokens=16)
    assert student.facts["train_rows"] == 18, "two rationales of nine questions; the example has none"
    assert student.facts["questions"] == 9
    assert student.facts["reranker"]["shown"] == 20, "a quarter of the rows that the student was shown"


def test_it_reads_the_same_bytes_in_training_and_at_inference(saved):
    task, [row, *_] = make_task(), training_rows(make_task(), make_rows(), include_examples=False)
    [(read, written)] = training_texts(task, [row], Reading(passages=1), reasoning=True)
    student = saved[0].reading_as(votes=1)
    student.tokenizer = Recording(student.tokenizer)
    [found] = student.predict_with_evidence([row.fields["question"]], rationales=[row.rationale])
    assert [passage.text for passage in found.passages] == list(row.passages)
    assert student.tokenizer.read == [read]
    assert read == (
        "Does it float?\n\nquestion: can amber float\nOptions: yes, no\nKnowledge: amber is light\nExplanation:"
    )
    assert written == "so amber is light\nAnswer: yes"


def test_the_same_input_gets_the_same_answer_whatever_stands_beside_it(saved):
    student, _ = saved
    alone = [student.predict_with_evidence([question])[0] for question in QUESTIONS]
    assert student.predict_with_evidence(QUESTIONS[::-1])[::-1] == alone
    assert student.predict(QUESTIONS) == [found.answer for found in alone]
    assert {len(found.written) for found in alone} == {3}
    assert any(len(set(found.written)) > 1 for found in alone), "sampled, not one text three times"
    again = student.reading_as(seed=1).predict_with_evidence(QUESTIONS)
    assert [found.written for found in again] != [found.written for found in alone]


def test_predicting_draws_nothing_from_the_global_generator(saved):
    import torch

    torch.manual_seed(5)
    state = torch.get_rng_state()
    saved[0].predict(QUESTIONS[:1])
    assert torch.equal(torch.get_rng_state(), state)


def test_one_vote_is_the_likeliest_text_whatever_the_seed(saved):
    student = saved[0].reading_as(votes=1)
    [one] = student.predict_with_evidence(QUESTIONS[:1])
    [other] = student.reading_as(seed=9).predict_with_evidence(QUESTIONS[:1])
    assert one.written == other.written
    assert len(one.written) == 1


def test_passages_come_with_their_source_and_score(saved, index):
    student, _ = saved
    [found] = student.predict_with_evidence(["can opal float"])
    [passage] = found.passages
    assert passage.text == passage_text(index.rows([passage.key])[0])
    assert (passage.source.dataset, passage.source.license) == ("stones", "mit")
    assert -1.0 <= passage.score <= 1.0 + 1e-6
    assert passage.bm25 > 0


def test_candidates_are_the_rows_of_bm25_and_the_reranker_orders_them(saved, index):
    student = saved[0].reading_as(candidates=8, passages=8)
    question = "can opal float in the shop"
    [(keys, scores)] = index.words().search([question], 8)
    [found] = student.retrieve([question])
    assert {passage.key for passage in found} == set(keys.tolist())
    assert {passage.key: passage.bm25 for passage in found} == dict(zip(keys.tolist(), scores.tolist(), strict=True))
    expected = student.reranker.scores(question, [passage.text for passage in found])
    assert [passage.score for passage in found] == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(expected) == sorted(expected, reverse=True)
    [first] = student.reading_as(passages=1).retrieve([question])
    assert first == found[:1]


def test_silver_passages_are_found_by_the_rationale_without_the_reranker(saved, index):
    student, _ = saved
    rationale = "pearl in the shop"
    [found] = student.predict_with_evidence(["can ruby float"], rationales=[rationale])
    assert [passage.text for passage in found.passages] == [rationale]
    assert student.predict(["can ruby float"], rationales=[rationale]) == [found.answer]


@pytest.mark.parametrize(
    ("rationales", "message"), [(["one", "two"], "`rationales` is 2 of them for 1 inputs"), ("one", "is one text")]
)
def test_there_is_one_rationale_an_input(saved, rationales, message):
    with pytest.raises(StudentError, match=message):
        saved[0].predict(["can ruby float"], rationales=rationales)


def test_nothing_is_looked_up_for_what_is_popular(saved, tmp_path):
    student, _ = saved
    student.reading_as(threshold=3.0, popularity_column="views").save(tmp_path / "chosen")
    again = load_student(tmp_path / "chosen", index=student.index)
    asked = [{"question": QUESTIONS[0], "views": views} for views in (999, 1000, "2e5")]
    found = again.predict_with_evidence([*asked, {"question": QUESTIONS[0]}])
    assert [bool(one.passages) for one in found] == [True, False, False, True]
    assert [one.nearness > 0 for one in found] == [True, False, False, True]
    held_out = [row | {"answer": "yes"} for row in asked]
    assert again.evaluate(held_out)["retrieved_share"] == pytest.approx(1 / 3)
    with pytest.raises(StudentError, match="'many' as `views`; expected a count"):
        again.predict([{"question": QUESTIONS[0], "views": "many"}])


def test_below_the_threshold_no_passage_is_read_and_the_threshold_is_saved(saved, tmp_path):
    student, index = saved[0], saved[0].index
    asked = ["is garnet in the shop", "can ruby float"]
    near = [float(index.words().search([question], 1)[0][1][0]) for question in asked]
    assert near[0] > near[1]
    chosen = student.reading_as(threshold=(near[0] + near[1]) / 2)
    found = chosen.predict_with_evidence(asked)
    assert [bool(one.passages) for one in found] == [True, False]
    assert [one.nearness for one in found] == pytest.approx(near)
    [silver] = chosen.predict_with_evidence(asked[1:], rationales=["ruby is heavy"])
    assert silver.passages
    loaded = load_student(chosen.save(tmp_path / "chosen"))
    assert loaded.reading == chosen.reading
    assert loaded.predict_with_evidence(QUESTIONS) == chosen.predict_with_evidence(QUESTIONS)


def test_saved_and_loaded_it_predicts_the_same(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.predict_with_evidence(QUESTIONS) == student.predict_with_evidence(QUESTIONS)
    assert (loaded.kind, loaded.reading) == ("grounded", student.reading)


def test_nothing_saved_is_a_pickle_or_names_this_machine_but_one_file(saved, index, tiny_t5, tiny_bert):
    _, folder = saved
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".txt", ".yaml"}
    naming = [
        file.name
        for file in files
        if any(str(path).encode() in file.read_bytes() for path in (index.path.parent, tiny_t5, tiny_bert, folder))
    ]
    assert naming == ["local.json"]
    facts = json.loads((folder / "training.json").read_text())
    assert facts["index"] == {
        "name": "stones-index",
        "hub": None,
        "revision": None,
        "fingerprint": index.fingerprint,
        "rows": 24,
    }


def test_without_its_index_it_says_which_one_to_give(saved, index, tmp_path):
    import shutil

    _, folder = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "local.json").unlink()
    with pytest.raises(StudentError, match=rf"`stones-index` \(24 rows, fingerprint {index.fingerprint[:12]}\)"):
        load_student(copy)
    assert load_student(copy, index=index.path).predict(QUESTIONS) == saved[0].predict(QUESTIONS)
    (copy / "local.json").write_text(json.dumps({"index": str(tmp_path / "gone")}))
    with pytest.raises(StudentError, match="not at hand"):
        load_student(copy)


def test_an_index_that_changed_is_not_taken_for_the_one_it_was_trained_with(saved, tmp_path, caplog):
    import shutil

    from datasets import Dataset, DatasetInfo

    from rebase_hf.index.row_index import RowIndex
    from tests.index.hashing_encoder import HashingEncoder

    source = Dataset.from_dict({"text": ["another stone"]}, info=DatasetInfo(dataset_name="other", license="mit"))
    other = RowIndex.build(tmp_path / "other", [source], encoder=HashingEncoder())
    copy = shutil.copytree(saved[1], tmp_path / "copy")
    (copy / "local.json").write_text(json.dumps({"index": str(other.path)}))
    with pytest.raises(StudentError, match="is another index by now"):
        load_student(copy)
    with caplog.at_level(logging.WARNING):
        student = load_student(copy, index=other)
    assert "another index than the one given" in caplog.text
    [found] = student.predict_with_evidence(["can a stone float"])
    assert [passage.text for passage in found.passages] == ["another stone"]


def test_its_votes_are_how_sure_it_is(saved):
    student, _ = saved
    shares = student.predict_proba(QUESTIONS)
    for row, found in zip(shares, student.predict_with_evidence(QUESTIONS), strict=True):
        expected = [found.votes.get(label, 0) / sum(found.votes.values()) if found.votes else 0.5 for label in LABELS]
        assert row.tolist() == expected
    label, share = ConsultedStudent(str(saved[1]), "floats", make_task())([{"question": QUESTIONS[0]}])[0]
    assert (label, share) == (LABELS[int(shares[0].argmax())], shares[0].max())


def test_evaluation_tells_votes_and_reading_beside_the_metrics(saved):
    student, _ = saved
    rows = [{"question": question, "answer": "no"} for question in QUESTIONS]
    scores = student.evaluate(rows)
    found = student.predict_with_evidence(QUESTIONS)
    assert scores["accuracy"] == np.mean([one.answer == "no" for one in found])
    assert scores["unreadable_share"] == pytest.approx(sum(one.unreadable for one in found) / 9)
    assert scores["vote_share"] == pytest.approx(sum(one.votes.get(one.answer, 0) for one in found) / 9)
    assert scores["retrieved_share"] == 1.0
    assert student.reading_as(threshold=1e9).evaluate(rows)["retrieved_share"] == 0.0


def test_a_passage_that_gives_an_evaluation_row_away_is_not_read_when_it_is_scored(saved):
    student = saved[0].reading_as(votes=1)
    student.tokenizer = Recording(student.tokenizer)
    student.predict(["jade is heavy"], rationales=["jade is heavy"])
    student.evaluate([{"question": "jade is heavy", "answer": "no"}], rationales=["jade is heavy"])
    asked, scored = student.tokenizer.read
    assert "Knowledge: jade is heavy\n" in asked
    assert "Knowledge: jade in the shop\n" in scored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes": 0}, "`votes` is 0; expected a whole number, 1 or more"),
        ({"top_p": 0.0}, "`top_p` is 0.0"),
        ({"threshold": float("inf")}, "`threshold` is inf"),
        ({"passages": 200}, "200 passages can't be chosen from 100"),
    ],
)
def test_numbers_that_nothing_can_be_read_by_are_refused(saved, change, message):
    with pytest.raises(StudentError, match=message):
        saved[0].reading_as(**change)


def test_a_damaged_reading_is_named(saved, tmp_path):
    import shutil

    copy = shutil.copytree(saved[1], tmp_path / "copy")
    facts = json.loads((copy / "training.json").read_text())
    (copy / "training.json").write_text(json.dumps({**facts, "reading": {"votes": 3, "beams": 2}}))
    with pytest.raises(StudentError, match="which this version can't read"):
        load_student(copy)
