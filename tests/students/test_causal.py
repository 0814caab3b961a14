import json
import subprocess
import sys
from pathlib import Path

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.task import Task
from tests.doubles.hub_server import HubServer
from tests.doubles.tiny_models import ROWS as MESSAGES

ROOT = Path(__file__).parents[2]
ROWS = [{"input": text, "output": text[::-1]} for text in ("ab", "cd", "ef", "gh")]
LABELLED = {
    "name": "triage",
    "instruction": "Decide.",
    "inputs": ["message"],
    "output": "team",
    "labels": ["shipping", "billing", "account"],
    "examples": [{"message": "the parcel is late", "team": "shipping"}],
}


def make_task(**example):
    content = {
        "name": "reverse",
        "instruction": "Turn it round.",
        "examples": [{"input": "xy", "output": "yx", **example}],
    }
    return Task.load(content)


@pytest.fixture(scope="module")
def saved(tiny_chat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    return train_student(
        make_task(), ROWS, kind="causal", base_model=tiny_chat, output_dir=folder, max_pairs=16
    ), folder


def test_loaded_student_writes_the_same(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "causal" and loaded.facts == student.facts
    assert loaded.generate(["ab", "zzzzz"]) == student.generate(["ab", "zzzzz"])


def test_the_merged_model_stands_alone_for_plain_transformers(saved):
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    student, folder = saved
    assert not (folder / "adapter_config.json").exists() and not (folder / "README.md").exists()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    write = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    chat = [{"role": "user", "content": "Turn it round.\n\ninput: ab"}]
    told = write(chat, do_sample=False, max_new_tokens=256)[0]["generated_text"][-1]["content"]
    assert told == student.generate(["ab"])[0]


def test_texts_are_written_alike_alone_and_beside_longer_ones(saved):
    student, _ = saved
    together = student.generate(["ab", "abcdefgh" * 9, "x"])
    assert together == [student.generate([text])[0] for text in ("ab", "abcdefgh" * 9, "x")]


def test_only_the_completion_counts(tiny_chat):
    from rebase_hf.students.causal_rows import CausalRows
    from rebase_hf.students.chat_text import end_tokens
    from rebase_hf.students.student import TrainingRow
    from rebase_hf.students.trainer_run import load_pretrained

    model, tokenizer = load_pretrained("AutoModelForCausalLM", tiny_chat)
    prepare = CausalRows(make_task(), tokenizer, end_tokens(model, tokenizer), "none", 1024)
    feature = prepare.feature(TrainingRow({"input": "ab", "output": "ba"}))
    counted = [token for token, label in zip(feature["input_ids"], feature["labels"], strict=True) if label != -100]
    assert tokenizer.decode(counted) == "ba<|end|>"
    assert feature["labels"][-len(counted) :] == feature["input_ids"][-len(counted) :]


def test_lora_trains_no_weight_of_the_base_and_merging_changes_only_linear_layers(saved, tiny_chat):
    from transformers import AutoModelForCausalLM

    student, _ = saved
    base = AutoModelForCausalLM.from_pretrained(tiny_chat).state_dict()
    changed = {name for name, value in student.model.state_dict().items() if not value.equal(base[name])}
    assert changed and all("_proj" in name for name in changed)


@pytest.mark.slow
def test_a_small_model_learns_to_write_the_output_and_lora_to_write_another(tiny_chat, tmp_path):
    full = {"lora_rank": 0, "learning_rate": 3e-3, "output_dir": tmp_path / "base"}
    student = train_student(make_task(), ROWS, kind="causal", base_model=tiny_chat, max_pairs=1600, **full)
    assert student.predict(["ab", "gh"]) == ["ba", "hg"]
    # What a random model's frozen embeddings say can't be learnt beside them; what a trained one's say can.
    as_they_are = [{"input": row["input"], "output": row["input"]} for row in ROWS]
    student = train_student(
        make_task(), as_they_are, kind="causal", base_model=str(tmp_path / "base"), max_pairs=800, learning_rate=1e-2
    )
    assert student.predict(["ab", "gh"]) == ["ab", "gh"]


@pytest.mark.slow
def test_a_small_model_learns_the_rationale_and_answers_after_it(tiny_chat):
    rows = [{**row, "rationale": "turned"} for row in ROWS]
    task = make_task(rationale="turned")
    options = {"max_pairs": 1600, "lora_rank": 0, "learning_rate": 3e-3}
    student = train_student(task, rows, kind="causal", base_model=tiny_chat, **options)
    assert student.generate(["cd"]) == ["turned\nAnswer: dc"] and student.predict(["cd"]) == ["dc"]


def test_of_a_task_with_labels_one_of_them_is_written(tiny_chat):
    student = train_student(LABELLED, MESSAGES, kind="causal", base_model=tiny_chat, max_pairs=8)
    predictions = student.predict([row["message"] for row in MESSAGES])
    assert set(predictions) <= {"shipping", "billing", "account"}
    assert student.evaluate(MESSAGES)["accuracy"] == sum(
        said == row["team"] for said, row in zip(predictions, MESSAGES, strict=True)
    ) / len(MESSAGES)


def test_an_adapter_of_a_local_model_is_refused(tiny_chat):
    with pytest.raises(StudentError, match="is a folder of this machine"):
        train_student(make_task(), ROWS, kind="causal", base_model=tiny_chat, save_adapter=True)


def test_all_weights_leave_no_adapter(tiny_chat):
    with pytest.raises(StudentError, match="`save_adapter` needs `lora_rank` above 0"):
        train_student(make_task(), ROWS, kind="causal", base_model=tiny_chat, save_adapter=True, lora_rank=0)


def test_nothing_saved_names_this_machines_folders(saved, tiny_chat):
    _, folder = saved
    for file in folder.rglob("*"):
        if file.is_file():
            assert str(folder).encode() not in file.read_bytes() and tiny_chat.encode() not in file.read_bytes()


def test_a_student_of_another_kind_saved_there_before_leaves_nothing(saved, tiny_encoder, tmp_path):
    student, _ = saved
    train_student(LABELLED, MESSAGES, base_model=tiny_encoder, output_dir=tmp_path / "s", max_pairs=16)
    student.save(tmp_path / "s")
    held = {file.name for file in (tmp_path / "s").iterdir()}
    assert not held & {"modules.json", "head.safetensors", "model_head.pkl", "config_setfit.json"}
    assert json.loads((tmp_path / "s" / "student.json").read_text())["kind"] == "causal"
    assert load_student(tmp_path / "s").generate(["ab"]) == student.generate(["ab"])


ADAPTER_CODE = """
import json
from pathlib import Path
from transformers import AutoModelForCausalLM
from rebase_hf import load_student, train_student

task = {"name": "reverse", "instruction": "Turn it round.", "examples": [{"input": "xy", "output": "yx"}]}
rows = [{"input": text, "output": text[::-1]} for text in ("ab", "cd", "ef", "gh")]
student = train_student(
    task, rows, kind="causal", base_model="org/tiny", save_adapter=True, max_pairs=64, learning_rate=0.05,
    output_dir="student",
)
written = student.generate(["ab"])
plain = AutoModelForCausalLM.from_pretrained("student")
print(json.dumps({
    "written": written,
    "again": load_student("student").generate(["ab"]),
    "plain": type(plain).__name__,
    "held": sorted(file.name for file in Path("student").iterdir()),
    "base": json.loads(Path("student/adapter_config.json").read_text())["base_model_name_or_path"],
    "bytes": Path("student/adapter_model.safetensors").stat().st_size,
}))
"""


@pytest.mark.slow
def test_an_adapter_is_saved_alone_and_finds_its_base_model_on_the_hub(tiny_chat, tmp_path):
    files = {file.name: file.read_bytes() for file in Path(tiny_chat).iterdir()}
    with HubServer() as hub:
        hub.add_repo("org/tiny", files, repo_type="model")
        done = subprocess.run(
            [sys.executable, "-c", ADAPTER_CODE],
            env=hub.env(tmp_path) | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["written"] == told["again"] and told["base"] == "org/tiny"
    assert "model.safetensors" not in told["held"] and "README.md" not in told["held"]
    assert told["bytes"] < len(files["model.safetensors"])
