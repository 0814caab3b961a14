import json

import pytest

from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError
from rebase_hf.outcomes import Decision, RunState


def example(seq, position, text='"a"'):
    return Decision(seq, "example", None, position, text)


def dropped(seq, text="{}"):
    return Decision(seq, "dropped", "label_not_in_task", None, text)


@pytest.fixture
def reopened(tmp_path):
    """Open the decisions of one run again and again, as one process after another does."""
    opened = []

    def reopen():
        opened.append(Decisions.open("run", tmp_path))
        return opened[-1]

    yield reopen
    for decisions in opened:
        decisions.close()


FIRST = [example(0, 0), dropped(1), example(2, 1), example(3, 2)]


def test_the_same_decisions_again_change_nothing(reopened, caplog):
    reopened().append(FIRST)
    again = reopened()
    again.append(FIRST[:2])
    again.append([*FIRST[2:], example(4, 3)])
    assert again.examples(0) == [(0, '"a"'), (1, '"a"'), (2, '"a"'), (3, '"a"')]
    assert again.generation() == 0 and not caplog.records


def test_decisions_that_differ_are_taken_anew_from_there_on_with_a_warning(reopened, caplog):
    reopened().append(FIRST)
    again = reopened()
    again.append([example(0, 0), example(1, 1, '"b"')])
    assert again.examples(0) == [(0, '"a"'), (1, '"b"')]
    assert again.generation() == 1 and "decided anew" in caplog.text and "outcome 2 on" in caplog.text
    again.append([example(2, 2, '"b"')])
    assert again.examples(0)[-1] == (2, '"b"')


def test_where_no_example_is_among_them_readers_need_not_know(reopened):
    reopened().append([example(0, 0), dropped(1)])
    again = reopened()
    again.append([example(0, 0), dropped(1, '{"other": 1}')])
    assert again.generation() == 0 and [entry["other"] for entry in again.ledger()] == [1]


def test_forgotten_decisions_keep_what_was_used(reopened):
    decisions = reopened()
    decisions.append(FIRST)
    decisions.set_state(RunState(complete=True), {"requests": 4})
    decisions.forget()
    assert decisions.examples(0) == [] and not decisions.state().complete
    assert decisions.usage() == {"requests": 4} and decisions.generation() == 1
    decisions.append(FIRST)
    assert len(decisions.examples(0)) == 3


@pytest.mark.parametrize(
    "read",
    [
        lambda d: d.examples(0),
        lambda d: d.tally(),
        lambda d: d.state(),
        lambda d: d.usage(),
        lambda d: d.needed(0.0),
        lambda d: list(d.ledger()),
        lambda d: d.append(FIRST),
        lambda d: d.need("worker", 3),
    ],
)
def test_a_damaged_file_is_a_journal_error_that_names_it(tmp_path, read):
    made = Decisions.open("run", tmp_path)
    made.append([Decision(seq, "example", None, seq, json.dumps("x" * 3000)) for seq in range(200)])
    made.close()
    decisions = Decisions.open("run", tmp_path)
    path = tmp_path / "run.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(JournalError, match=r"run\.sqlite.*delete"):
        read(decisions)
    decisions.close()


def test_a_file_that_is_no_database_is_a_journal_error(tmp_path):
    (tmp_path / "run.sqlite").write_text("not a database at all, but long enough to be taken for one" * 20)
    with pytest.raises(JournalError, match=r"delete .*run\.sqlite"):
        Decisions.open("run", tmp_path)


def test_looking_at_a_run_makes_and_changes_nothing(tmp_path):
    assert Decisions.peek(tmp_path / "run.sqlite") is None and not list(tmp_path.iterdir())
    (tmp_path / "run.sqlite").touch()  # as it is while another process makes it
    assert Decisions.peek(tmp_path / "run.sqlite") is None
    made = Decisions.open("run", tmp_path)
    made.append(FIRST)
    looking = Decisions.peek(tmp_path / "run.sqlite")
    assert looking.tally().examples == 3
    with pytest.raises(JournalError, match="readonly"):
        looking.need("worker", 1)
    looking.close()
    made.close()


def test_a_thing_is_said_once(reopened):
    one, other = reopened(), reopened()
    assert [one.first_to_say("short"), other.first_to_say("short"), one.first_to_say("short again")] == [
        True, False, True
    ]  # fmt: skip


def test_a_worker_that_leaves_needs_nothing_more(reopened):
    decisions = reopened()
    decisions.need("a", 5)
    decisions.need("b", 9)
    assert decisions.needed(0.0) == 9
    decisions.leave("b")
    assert decisions.needed(0.0) == 5
