"""What a student can't be trained from, or of, is told before anything is paid for its data."""

import json
import sys

import pytest

from rebase_hf.cli import main
from rebase_hf.errors import StudentError
from rebase_hf.setfit_training import load_body
from rebase_hf.students import train_student
from rebase_hf.students.named import KINDS
from rebase_hf.students.training import check_base_model
from rebase_hf.task import Task
from tests.doubles.tgi_server import TGIServer
from tests.doubles.tiny_models import make_static_encoder

LABELLED = {"labels": ["blue", "red"]}


def make_task(**change):
    example = {"input": "the sky is blue", "output": "blue"}
    return Task.load({"name": "t", "instruction": "Say.", "examples": [example], **change})


@pytest.fixture(scope="module")
def models(tiny_encoder, tiny_bert, tiny_t5, tiny_chat, tmp_path_factory):
    static = make_static_encoder(tmp_path_factory.mktemp("static"))
    return {"sentences": tiny_encoder, "bert": tiny_bert, "t5": tiny_t5, "chat": tiny_chat, "static": static}


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        ("setfit", {"sentences", "bert"}),
        ("linear", {"sentences", "bert", "static"}),
        ("encoder", {"sentences", "bert"}),
        ("extractive", {"sentences", "bert"}),
        ("seq2seq", {"t5"}),
        ("causal", {"chat"}),
        ("grounded", {"t5"}),
    ],
)
def test_models_of_another_kind_are_refused_by_their_configuration(models, kind, fitting):
    task = make_task(extractive=True) if kind == "extractive" else make_task(**LABELLED)
    for name in fitting:
        KINDS[kind].check(models[name], KINDS[kind].options())
    for name in {"t5", "chat", "static"} - fitting - ({"t5", "chat"} if kind in ("setfit", "linear") else set()):
        if (kind, name) in {("encoder", "t5"), ("extractive", "t5"), ("extractive", "chat")}:
            continue  # transformers has such heads for these
        with pytest.raises(StudentError, match="can't be loaded by|is a decoder|static embeddings"):
            check_base_model(task, models[name], kind)
        with pytest.raises(StudentError, match="can't be loaded by|is a decoder|static embeddings"):
            train_student(task, [], kind=kind, base_model=models[name])


def test_static_embeddings_may_be_named_as_such(models):
    check_base_model(make_task(**LABELLED), f"static:{models['static']}", "linear")
    with pytest.raises(StudentError, match="static embeddings"):
        load_body(models["static"], 64)


def test_an_adapter_of_a_local_model_is_refused_before_anything_is_paid(models):
    with pytest.raises(StudentError, match="is a folder of this machine"):
        check_base_model(make_task(), models["chat"], "causal", {"save_adapter": "true"})


@pytest.mark.parametrize(
    ("kind", "options"),
    [("seq2seq", {"rationales": "task"}), ("causal", {"rationales": "target"}), ("grounded", {"reasoning": True})],
)
def test_rationales_that_no_row_will_have_are_refused(models, kind, options):
    base = models["chat" if kind == "causal" else "t5"]
    options = options | ({"knowledge": False} if kind == "grounded" else {})
    check_base_model(make_task(), base, kind, options, rationales=True)
    with pytest.raises(StudentError, match=f"`{kind}`, as its options are, learns rationales, and the rows will have"):
        check_base_model(make_task(), base, kind, options, rationales=False)


def test_a_run_that_would_give_no_rationales_asks_nobody(home, models, model_index, tmp_path, monkeypatch, capsys):
    (tmp_path / "task.json").write_text(json.dumps(make_task().to_dict()))
    with TGIServer(answer=lambda request: "{}") as server:
        arguments = ["run", str(tmp_path / "task.json"), "--index", str(model_index), "--teacher", server.url]
        options = ["--base-model", models["t5"], "--student-option", "rationales=task", "--num-examples", "2"]
        monkeypatch.setattr(sys, "argv", ["rebase-hf", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2 and not server.chat_requests
    assert "learns rationales, and the rows will have none" in capsys.readouterr().err


def test_a_broken_list_of_modules_is_named(models, tmp_path):
    (tmp_path / "modules.json").write_text("nope")
    with pytest.raises(StudentError, match=r"modules\.json is not JSON"):
        check_base_model(make_task(**LABELLED), str(tmp_path), "linear")
