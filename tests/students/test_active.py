"""What is searched for next, what of it is new, and when no more is asked for."""

import json
from collections import Counter

import numpy as np
import pytest

from rebase_hf.errors import StudentError, TeacherError
from rebase_hf.rows import Example, source_address
from rebase_hf.students.active import ActiveSynthesis
from rebase_hf.students.active_choice import choose_queries, without_repeats
from rebase_hf.students.active_round import ActiveSettings
from rebase_hf.students.growing_rows import GrowingRows
from rebase_hf.students.setfit_figures import figures_of
from rebase_hf.teacher.target import Teacher
from tests.doubles.task_answers import about_the_row, shown_row
from tests.doubles.tgi_server import TGIServer
from tests.doubles.tiny_models import ROWS, TEXTS

answer = about_the_row("team", tuple(TEXTS))
SAID = [{"message": row["message"]} for row in ROWS]


def figures(said):
    """Return figures of rows whose own label is the first, from the probability of each label."""
    return figures_of(np.array(said), np.zeros(len(said), dtype=int))


def unsure(count=12):
    return figures([[0.4, 0.35, 0.25]] * (count // 2) + [[0.2, 0.5, 0.3]] * (count - count // 2))


def make(task, index, teacher, **settings):
    return ActiveSynthesis(task, index, teacher, ActiveSettings(**{"rows_per_round": 5, "min_gain": None} | settings))


def test_errors_doubtful_and_easy_rows_are_searched_for():
    margins = [0.9, 0.05, 0.8, 0.1, 0.7, 0.6, 0.2, 0.5, 0.4, 0.3]
    rows = [[0.5 + m / 2, 0.5 - m / 2] for m in margins] + [[p, 1 - p] for p in (0.1, 0.02, 0.3, 0.2, 0.15)]
    chosen = choose_queries(figures(rows), 10, 0.2, (0, 0))
    assert Counter(chosen.values()) == {"error": 4, "uncertain": 4, "easy": 2}
    assert {row for row, why in chosen.items() if why == "error"} < set(range(10, 15))
    # The least margins of those that are left: rows 1, 3, 6 and 9.
    assert [row for row, why in chosen.items() if why == "uncertain"] == [1, 3, 6, 9]
    assert {row for row, why in chosen.items() if why == "easy"} < {0, 2, 4, 5, 7, 8}
    assert choose_queries(figures(rows), 10, 0.2, (0, 0)) == chosen != choose_queries(figures(rows), 10, 0.2, (0, 1))
    assert not {"easy"} & set(choose_queries(figures(rows), 10, 0.0, (0, 0)).values())
    assert len(choose_queries(figures(rows), 100, 0.2, (0, 0))) == 15


def test_a_student_that_errs_nowhere_is_asked_where_it_is_least_certain():
    chosen = choose_queries(figures([[0.5 + m / 20, 0.5 - m / 20] for m in range(10)]), 5, 0.2, (0,))
    assert [row for row, why in chosen.items() if why == "uncertain"] == [0, 1, 2, 3]
    assert Counter(chosen.values()) == {"uncertain": 4, "easy": 1}


def example(text: str) -> Example:
    return Example({"message": text, "team": "billing"}, None, {})


def test_what_repeats_a_known_row_is_no_new_row(plain_triage):
    training = [{"message": "I was charged twice for my order in May"}]
    development = [{"message": "the parcel is lost somewhere between here and Leeds"}]
    found = [
        example("I was charged twice for my order in May!"),
        example("The parcel is lost, somewhere between here and Leeds."),
        example("a wholly different matter of a password"),
    ]
    kept, repeated = without_repeats(plain_triage, found, training, development)
    assert kept == found[2:] and repeated == {"repeats_training_row": 1, "repeats_development_row": 1}


def test_a_round_brings_rows_like_those_asked_about_and_none_twice(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        active = make(plain_triage, bank_index, server.url, max_new_rows=12)
        used: list[str] = []
        for wanted in (5, 5, 2):
            assert active.go_on(0.5)
            taken = active.ask(unsure(), SAID, SAID, [])
            active.accept(taken, step=1)
            assert (taken.asked, len(taken.examples), taken.requests) == (wanted, wanted, wanted)
            addresses = [source_address(example.provenance) for example in taken.examples]
            assert set(addresses) == set(taken.used) and not set(addresses) & set(used)
            used += addresses
        assert not active.go_on(0.5) and active.stopped == "max_new_rows"
        assert len(server.chat_requests) == 12 == len(active.examples)
    ranks = ranks_by_cosine(bank_index, [row["message"] for row in SAID])
    assert np.median([ranks[source_address(example.provenance)] for example in active.examples]) < len(bank_index) / 5


def ranks_by_cosine(index, texts):
    """Return where each row stands among all by the best cosine of a cell with any of some texts."""
    scores = index.best_cells(index.encoder.encode(texts))[0].max(axis=1)
    rows = index.rows(np.argsort(-scores))
    return {source_address(row.reference("context")): rank for rank, row in enumerate(rows)}


def test_rows_that_the_training_rows_were_made_from_are_not_asked_about(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        first = make(plain_triage, bank_index, server.url).ask(unsure(), SAID, [], [])
        again = make(plain_triage, bank_index, server.url).ask(unsure(), SAID, [], first.used)
    assert first.used and not set(first.used) & set(again.used)


def test_repeats_are_counted_and_their_rows_not_asked_about_again(home, plain_triage, bank_index):
    def copying(request, call):
        return json.dumps({"message": ROWS[len(json.dumps(shown_row(request))) % 12]["message"], "team": "account"})

    with TGIServer(answer=copying) as server:
        active = make(plain_triage, bank_index, server.url)
        taken = active.ask(unsure(), SAID, SAID, [])
    assert not taken.examples and taken.dropped["repeats_training_row"] == 5
    assert taken.dropped.get("duplicate_output", 0) == taken.asked - 5 == len(taken.used) - 5


def test_it_stops_when_the_gain_falls_below_the_threshold(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        active = make(plain_triage, bank_index, server.url, max_new_rows=50, min_gain=2.0)
        for score, gain in ((0.5, None), (0.7, 4.0), (0.8, 2.0)):
            assert active.go_on(score)
            assert active.curve[-1]["gain_per_100_rows"] == (None if gain is None else pytest.approx(gain))
            active.accept(active.ask(unsure(), SAID, SAID, []))
        assert not active.go_on(0.85) and active.stopped == "gain_below_threshold"
        assert [point["rows"] for point in active.curve] == [0, 5, 10, 15]
        assert len(server.chat_requests) == 15


def test_the_teachers_limits_hold_for_all_rounds_together(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        active = make(plain_triage, bank_index, Teacher(server.url, max_requests=8), max_new_rows=50)
        while active.go_on(0.5):
            active.accept(active.ask(unsure(), SAID, SAID, []))
        assert len(server.chat_requests) == 8 == len(active.examples)
    assert active.stopped == "teacher_budget"
    assert [entry["rows"] for entry in active.rounds] == [5, 3]


def test_it_stops_when_all_rows_are_used(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        active = make(plain_triage, bank_index, server.url, max_new_rows=1000, rows_per_round=400)
        active.accept(active.ask(unsure(), SAID, SAID, []))
        assert not active.go_on(0.5) and active.stopped == "candidates_ran_out"
    assert len(active.examples) == len(bank_index) == 333


def test_a_round_without_a_new_row_is_no_error(home, plain_triage, bank_index, caplog):
    with TGIServer(answer=lambda request, call: "never", enforce_schema=False) as server:
        active = make(plain_triage, bank_index, server.url, rows_per_round=3)
        taken = active.ask(unsure(), SAID, SAID, [])
    assert not taken.examples and taken.dropped["unparsable_answer"] == taken.asked
    assert "No new rows for the student" in caplog.text


def test_what_was_asked_for_survives_in_json(home, plain_triage, bank_index):
    with TGIServer(answer=answer) as server:
        active = make(plain_triage, bank_index, server.url, max_new_rows=10)
        active.go_on(0.5)
        active.accept(active.ask(unsure(), SAID, SAID, []), step=3)
        other = make(plain_triage, bank_index, server.url, max_new_rows=10)
        other.begin(json.loads(json.dumps(active.state())))
        asked = len(server.chat_requests)
        assert other.examples == active.examples and other.rounds == active.rounds
        assert other.ask(unsure(), SAID, SAID, []) == active.ask(unsure(), SAID, SAID, [])
        assert len(server.chat_requests) == asked + 5


def test_rows_of_the_evaluation_set_are_not_to_be_asked_about(home, triage, bank_index):
    held_out = triage.evaluation_rows()
    with TGIServer() as server:
        active = make(triage, bank_index, server.url)
        active.check(SAID)
        for near in (held_out[1]["message"].upper(), held_out[2]["message"] + " now"):
            with pytest.raises(StudentError, match="Row 12 that .* gives away the evaluation set of task `triage`"):
                active.check([*SAID, {"message": near}])
        assert not server.chat_requests


@pytest.mark.slow
def test_a_teacher_that_is_not_there_is_told_before_the_training(home, plain_triage, bank_index):
    with pytest.raises(TeacherError, match=r"127\.0\.0\.1:9"):
        make(plain_triage, bank_index, "http://127.0.0.1:9").check(SAID)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_rows": 0}, "`max_new_rows` is 0"),
        ({"easy_share": 1.0}, "`easy_share` is 1;"),
        ({"easy_share": "a"}, "`easy_share` is 'a'"),
        ({"min_gain": "x"}, "`min_gain` is 'x'"),
        ({"min_gain": float("nan")}, "`min_gain` is nan"),
        ({"seed": -1}, "`seed` is -1"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(StudentError, match=message):
        ActiveSettings(**wrong)


def test_rows_grow_into_the_room_that_was_kept():
    rows = GrowingRows([{"n": n} for n in range(4)], 6)
    assert [rows[place]["n"] for place in range(len(rows))] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    rows.add([{"n": 10}, {"n": 11}, {"n": 12}])
    assert [row["n"] for row in rows] == [0, 1, 2, 3, 10, 11, 12, 0, 2, 10]
    rows.add([{"n": 13}, {"n": 14}, {"n": 15}])
    assert [rows[place]["n"] for place in range(10)] == [0, 1, 2, 3, 10, 11, 12, 13, 14, 15]
    with pytest.raises(ValueError, match="1 rows to add, and room for 0"):
        rows.add([{"n": 16}])
    rows.forget_added()
    assert rows.filled == 4 and len(rows) == 10
