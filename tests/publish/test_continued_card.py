"""A pushed student that its user trains on and pushes with Trainer or SetFit, the real ones, keeps its card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from rebase_hf.errors import PublishError
from rebase_hf.publish.cards import render_student_card
from rebase_hf.publish.continued_card import BEGIN, continue_card, is_ours
from rebase_hf.publish.keep_card import keep_card
from tests.doubles.hub_server import HubServer
from tests.doubles.tiny_models import make_bert, make_sentence_encoder
from tests.publish.test_hub import TRY

OnHub = Callable[..., Any]
THEIRS = """\
---
library_name: transformers
tags:
- generated_from_trainer
base_model: org/student
---

# out

## More
"""
# Arguments: a folder of the machine, the student's repository, and whether the callback is there.
TRAINER = """
    from pathlib import Path
    from tests.students.trainers import make_trainer, classifier
    from rebase_hf.publish.keep_card import KeepCardCallback
    from rebase_hf.publish.hub import push_student, restore_card
    folder, run, kept = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "kept"
    bert = str(folder / "bert")
    for pushed in range(2 if kept else 1):
        trainer = make_trainer(bert, folder / "out", [KeepCardCallback()] if kept else [], num_train_epochs=1,
                               model=classifier("org/student"), hub_model_id="org/student")
        trainer.train()
        trainer.push_to_hub()
    result = None
"""
SETFIT = """
    from pathlib import Path
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments
    from rebase_hf import load_student
    from rebase_hf.publish.keep_card import KeepCardCallback
    from tests.doubles.tiny_models import ROWS
    folder = Path(sys.argv[1])
    model = SetFitModel.from_pretrained("org/student")
    rows = Dataset.from_list([{"text": row["message"], "label": row["team"]} for row in ROWS])
    arguments = TrainingArguments(output_dir=str(folder / "out"), max_steps=2, batch_size=4, report_to="none")
    trainer = Trainer(model, arguments, train_dataset=rows, callbacks=[KeepCardCallback("org/student")])
    trainer.train()
    trainer.push_to_hub("org/student")
    texts = [row["message"] for row in ROWS]
    result = [list(model.predict(texts)), load_student("org/student").predict(texts)]
"""


def noted(run: Path) -> str:
    card = render_student_card(run, repo_id="org/student")
    return card.replace("<!-- end of notes -->", "Ask Ada first.\n<!-- end of notes -->")


@pytest.fixture
def student(hub: HubServer, run: Path, tmp_path: Path) -> Path:
    """A tiny classifier in a repository, with the run's card and a person's note in it."""
    from tests.students.trainers import classifier

    bert = make_bert(tmp_path / "machine" / "bert")
    classifier(bert).save_pretrained(tmp_path / "student")
    hub.add_repo("org/student", tmp_path / "student", repo_type="model")
    hub.add_repo("org/student", {"README.md": noted(run)}, repo_type="model")
    return tmp_path / "machine"


def test_trainers_card_and_ours_become_one(run: Path) -> None:
    card = continue_card(noted(run), THEIRS, repo_id="org/student")
    assert is_ours(card) and not is_ours(THEIRS)
    data = ModelCard(card, ignore_metadata_errors=False).data
    assert (data.license, data.base_model) == ("cc-by-sa-4.0", "sentence-transformers/all-MiniLM-L6-v2")
    assert data.eval_results is None and {"rebase_hf", "generated_from_trainer"} <= set(data.tags)
    for said in ("Ask Ada first.", "**Trained on since.**", "#### out", "## Was it worth it", "## Limits"):
        assert said in card
    again = continue_card(card, THEIRS.replace("# out", "# later"), repo_id="org/student")
    assert again.count(BEGIN) == 1 and "#### later" in again and "#### out" not in again
    assert continue_card(card, again) == again
    other = ModelCard(continue_card(noted(run), THEIRS, repo_id="org/other")).data
    assert other.base_model == "org/student"


def test_only_a_card_of_ours_is_kept(run: Path) -> None:
    with pytest.raises(PublishError, match="none that rebase_hf wrote"):
        keep_card(object(), THEIRS)


@pytest.mark.slow
def test_push_to_hub_of_trainer_keeps_the_card(hub: HubServer, on_hub: OnHub, student: Path, run: Path) -> None:
    on_hub(TRAINER, student, run, "kept")
    repo = hub.repos["model", "org/student"]
    card = repo.files["README.md"].decode()
    assert len(repo.commits) == 4  # two of the test's, and a push each time
    assert card.count("**Trained on since.**") == 1 and "Training hyperparameters" in card
    for said in ("Ask Ada first.", "## Was it worth it", "## What it was trained on", "acme/helpdesk-mail"):
        assert said in card
    assert repo.card(repo.head)["license"] == "cc-by-sa-4.0"


@pytest.mark.slow
def test_a_card_that_was_written_over_is_put_back(hub: HubServer, on_hub: OnHub, student: Path, run: Path) -> None:
    on_hub(TRAINER, student, run, "lost")
    repo = hub.repos["model", "org/student"]
    assert not is_ours(repo.files["README.md"].decode())  # what transformers does by itself
    on_hub(f"{TRY}\n    from rebase_hf.publish.hub import restore_card\n    result = restore_card('org/student')")
    card = repo.files["README.md"].decode()
    assert is_ours(card) and "Ask Ada first." in card and "Training hyperparameters" in card
    before = len(repo.commits)
    on_hub("from rebase_hf.publish.hub import restore_card\nresult = restore_card('org/student')")
    assert len(repo.commits) == before


@pytest.mark.slow
def test_our_next_push_replaces_the_trainers_words_and_keeps_a_persons(
    hub: HubServer, on_hub: OnHub, student: Path, run: Path
) -> None:
    on_hub(TRAINER, student, run, "lost")
    on_hub(f"{TRY}\n    result = push_student(sys.argv[1], 'org/student')", run)
    repo = hub.repos["model", "org/student"]
    card = repo.files["README.md"].decode()
    assert "Ask Ada first." in card and "Training hyperparameters" not in card and "Trained on since" not in card
    assert "generated_from_trainer" not in repo.card(repo.head)["tags"]


@pytest.mark.slow
def test_push_to_hub_of_setfit_keeps_the_card_and_the_classifier(
    hub: HubServer, on_hub: OnHub, run: Path, tmp_path: Path
) -> None:
    from rebase_hf.students import train_student
    from tests.doubles.tiny_models import ROWS, TEXTS

    task = {"name": "teams", "instruction": "Which team?", "inputs": ["message"], "output": "team"}
    task |= {"labels": {name: name for name in TEXTS}, "examples": ROWS[:3]}
    encoder = make_sentence_encoder(tmp_path)
    train_student(task, ROWS, base_model=encoder, max_pairs=8, output_dir=tmp_path / "setfit")
    hub.add_repo("org/student", tmp_path / "setfit", repo_type="model")
    hub.add_repo("org/student", {"README.md": noted(run)}, repo_type="model")
    plain, loaded = on_hub(SETFIT, tmp_path)
    assert plain == loaded
    card = hub.repos["model", "org/student"].files["README.md"].decode()
    for said in ("Ask Ada first.", "## Was it worth it", "**Trained on since.**", "SetFit"):
        assert said in card


@pytest.mark.slow
def test_without_a_card_the_trainer_writes_its_own(hub: HubServer, on_hub: OnHub, student: Path, run: Path) -> None:
    del hub.repos["model", "org/student"].branches["main"]
    repo = hub.repos["model", "org/student"]
    repo.commit({k: v for k, v in repo.commits[1].files.items() if k != "README.md"}, "No card")
    on_hub(TRAINER, student, run, "kept")
    assert "Training hyperparameters" in repo.files["README.md"].decode()
