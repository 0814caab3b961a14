"""What a student was started from: its licence counts, is told, and is never guessed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from rebase_hf.cli.training import Training, train_and_compare
from rebase_hf.publish.base_model import base_models_of, describe_base_models
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.finished_run import FinishedRun
from tests.doubles.hub_server import HubServer
from tests.doubles.tiny_models import make_sentence_encoder
from tests.publish.example_run import ENCODER, make_report, make_rows, write_run
from tests.publish.test_hub import TRY

OnHub = Callable[..., Any]


def under(rows: list[dict[str, Any]], license: str) -> list[dict[str, Any]]:
    for row in rows:
        row["provenance"]["license"] = row["sources"][0]["license"] = license
    return rows


def started_from(folder: Path, *, data: str = "mit", **told: Any) -> Path:
    """A run whose student was started from a model of which its report tells this."""
    base = {"role": "base model", "name": ENCODER, **told}
    return write_run(folder, under(make_rows("t"), data), base_models=[base])


def card_of(run: Path) -> tuple[Any, str]:
    text = render_student_card(run)
    return ModelCard(text, ignore_metadata_errors=False).data, text


@pytest.mark.parametrize(
    ("data", "base", "license", "said"),
    [
        ("mit", "apache-2.0", "apache-2.0", "The base model's licence, which is more restrictive"),
        ("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-4.0", "more restrictive than the training data's `cc-by-4.0`"),
        ("cc-by-4.0", "gemma", "gemma", "Its restrictions of use go on with a model made from it"),
        ("cc-by-sa-4.0", "mit", "cc-by-sa-4.0", "The base model's (`mit`) asks for no more."),
    ],
)
def test_the_strictest_of_data_teacher_and_base_model_is_the_students(tmp_path, data, base, license, said) -> None:
    run = started_from(tmp_path / "run", data=data, license=base, license_from="card")
    metadata, text = card_of(run)
    assert metadata.license == license and said in text
    assert f"Base model: `{ENCODER}`. Licence: `{base}`, as its card says." in text


def test_a_base_model_of_unknown_licence_leaves_the_students_unknown(tmp_path: Path) -> None:
    metadata, text = card_of(started_from(tmp_path / "run", data="cc-by-4.0"))
    assert metadata.license == "unknown"
    assert "`unknown`. The training data's is `cc-by-4.0`. The base model's is not known." in text
    assert f"Base model: `{ENCODER}`. Its licence is not known, and may ask for more than the data's." in text
    named = {"license": "other", "license_name": "lab-research", "license_link": "https://lab.net/l"}
    metadata, text = card_of(started_from(tmp_path / "named", **named))
    assert (metadata.license, metadata.license_name) == ("other", "lab-research")
    assert metadata.to_dict()["license_link"] == "https://lab.net/l" and "read it before you use this one" in text


def test_licences_that_do_not_fit_together_are_said_on_the_card(tmp_path: Path) -> None:
    metadata, text = card_of(started_from(tmp_path / "run", data="cc-by-sa-4.0", license="gemma"))
    assert (metadata.license, metadata.license_name) == ("other", "see-sources")
    assert "Not settled: licences that can't be combined" in text and "gemma: the base model" in text


@pytest.mark.parametrize(
    ("base", "begin", "shown"), [("llama3", "Llama 3", "Built with Meta Llama 3"), ("llama3.2", "Llama", "Built with")]
)
def test_a_licence_of_llama_is_followed_and_told(tmp_path, base, begin, shown) -> None:
    _, text = card_of(started_from(tmp_path / "run", license=base, license_from="card"))
    assert f"**{shown}" in text and f"passed on must begin with `{begin}`." in text
    _, text = card_of(started_from(tmp_path / "llama2", license="llama2", license_from="card"))
    assert "Built with" not in text and "passed on with its licence and its notice" in text


@pytest.mark.parametrize(("teacher", "named"), [("llama3.1", True), ("llama3", False), ("mit", False)])
def test_a_student_of_a_llamas_outputs_is_named_as_its_licence_asks(tmp_path, teacher, named) -> None:
    rows = under(make_rows("t"), "mit")
    teacher = {"target": "http://x", "model": "lab/big", "kind": "endpoint", "license": teacher}
    assert ("**Built with Llama.**" in card_of(write_run(tmp_path / "run", rows, teacher=teacher))[1]) == named


def test_a_folder_is_no_hub_id_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not asked for: the Hub may have another model of that name, under another licence."""
    run = write_run(tmp_path / "run")
    (run / "task.yaml").write_text("\n".join((run / "task.yaml").read_text().splitlines()[:-1]))
    make_sentence_encoder(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    training = Training("models/tiny-encoder", "linear", {}, 1, 16, 0, pickle=False)
    report = train_and_compare(run, training)
    assert report["base_models"] == [{"role": "base model", "name": "tiny-encoder", "local": True, "license": None}]
    metadata, text = card_of(run)
    assert (metadata.base_model, metadata.license) == (None, "unknown")
    assert "Base model: `tiny-encoder`, a folder of the machine that trained the student. Its licence is not" in text
    (tmp_path / "models/tiny-encoder/README.md").write_text("---\nlicense: mit\n---\n")
    train_and_compare(run, training)
    assert card_of(run)[0].license == "cc-by-sa-4.0"
    listed = {"role": "base model", "name": "org/tiny", "local": True}
    (run / "student/student.json").write_text(json.dumps({"kind": "linear", "base_model": "org/tiny"}))
    (run / "report.json").write_text(json.dumps(report | {"base_models": [listed]}))
    assert card_of(run)[0].base_model is None


def test_the_rerankers_base_model_counts_too_and_another_students_does_not(tmp_path: Path) -> None:
    run = started_from(tmp_path / "run", license="mit")
    (run / "student/training.json").write_text(json.dumps({"reranker": {"base_model": "org/ranker"}}))
    assert [base.name for base in base_models_of(FinishedRun.open(run))] == [ENCODER, "org/ranker"]
    metadata, text = card_of(run)
    assert (metadata.license, metadata.base_model) == ("unknown", ENCODER)
    assert "Reranker's base model: `org/ranker`. Its licence is not known" in text
    (run / "student/student.json").write_text(json.dumps({"kind": "setfit", "base_model": "org/other"}))
    assert base_models_of(FinishedRun.open(run))[0].license.identifier is None


def test_the_few_shot_teachers_encoder_is_told_with_its_licence(run: Path, tmp_path: Path) -> None:
    said = f"from `{ENCODER}`, and only labels. Licence: `apache-2.0`, as its card says."
    assert said in render_dataset_card(run) and said in render_student_card(run)
    teacher = make_report(make_rows("t"))["teacher"] | {"license": None}
    unknown = render_dataset_card(write_run(tmp_path / "unknown", teacher=teacher))
    assert f"from `{ENCODER}`, and only labels. Its licence is unknown." in unknown
    teacher["license"] = "cc-by-nc-4.0"  # which the labels of rows of another licence do not take on
    assert FinishedRun.open(write_run(tmp_path / "nc", teacher=teacher)).license.identifier == "cc-by-sa-4.0"
    teacher["license_from"] = "flag"
    assert FinishedRun.open(write_run(tmp_path / "flag", teacher=teacher)).license.problems


def test_what_is_here_is_asked_before_the_hub(tmp_path: Path) -> None:
    """The default encoder comes with its card, in the package that the tests' environment has, or in the cache."""
    told = describe_base_models({"base model": f"static:{ENCODER}"})[0]
    assert (told["name"], told["license"], told["local"]) == (ENCODER, "apache-2.0", False)


def test_push_asks_the_hub_for_what_the_run_does_not_know(hub: HubServer, on_hub: OnHub, tmp_path: Path) -> None:
    teacher = make_report(make_rows("t"))["teacher"] | {"license": None}
    base = [{"role": "base model", "name": ENCODER, "local": False, "license": None}]
    run = write_run(tmp_path / "run", under(make_rows("t"), "cc-by-4.0"), teacher=teacher, base_models=base)
    hub.add_repo(ENCODER, {"README.md": "---\nlicense: llama3.2\n---\n"}, repo_type="model")
    code = f"""{TRY}
    import logging, io
    log = io.StringIO()
    logging.basicConfig(stream=log, format="%(message)s")
    push_student(sys.argv[1], "org/Llama-student")
    before = log.getvalue()
    push_student(sys.argv[1], "org/student")
    result = [before, log.getvalue()]
    """
    before, log = on_hub(code, run)
    asked = "a licence that the student stands under asks that its name begin with `Llama`."
    assert asked not in before and f"org/student: {asked}" in log
    repo = hub.repos["model", "org/student"]
    assert repo.card(repo.head)["license"] == "llama3.2" and b"**Built with Llama.**" in repo.files["README.md"]
    assert b"and only labels. Licence: `llama3.2`, as its card says." in repo.files["README.md"]


def test_a_student_whose_base_model_does_not_fit_the_data_is_not_published(
    hub: HubServer, on_hub: OnHub, tmp_path: Path
) -> None:
    run = started_from(tmp_path / "run", data="cc-by-sa-4.0", license="cc-by-nc-4.0", license_from="card")
    code = f"{TRY}\n    result = [outcome(push, sys.argv[1], 'org/a') for push in (push_student, push_dataset)]"
    refused, pushed = on_hub(code, run)
    assert "cc-by-nc-4.0: the base model" in refused and "--base-model MODEL" in refused
    assert ("model", "org/a") not in hub.repos and pushed.endswith("datasets/org/a")
