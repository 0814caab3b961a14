"""Who learns: train a student for a task, load it again, compare it with what could be had without it."""

from rebase_hf.students.comparison import Comparison, compare
from rebase_hf.students.student import Student
from rebase_hf.students.training import load_student, train_student

__all__ = ["Comparison", "Student", "compare", "load_student", "train_student"]
