"""The questions about one row, one after another: the first, and those to mend an answer that can't be read."""

from rebase_hf.rows import Completion, Draft
from rebase_hf.task import Task
from rebase_hf.teacher.faults import BY_READING
from rebase_hf.teacher.prompts import Parsed, Unreadable, parse_answer, repair_draft


def read_or_repair(task: Task, draft: Draft, completion: Completion) -> Parsed | Draft | Unreadable:
    """Return what an answer says; if it can't be read, the next question about its row, or why there is none.

    How often a row is asked about is said where faults are (`faults.BY_READING`).

    Args:
        draft: The question that was answered; a repair is numbered from 1 on.
    """
    parsed = parse_answer(task, completion.text)
    if isinstance(parsed, Parsed) or draft.repair + 1 >= BY_READING[parsed.reason].attempts:
        return parsed
    return repair_draft(task, draft, completion.text, parsed)
