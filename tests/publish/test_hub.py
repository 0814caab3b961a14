"""Publishing through the real clients, to the Hub double."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rebase_hf.errors import PublishError
from rebase_hf.publish.card_merging import merge_card
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.hub import push_dataset, push_student
from tests.doubles.hub_server import HubServer
from tests.publish.example_run import make_rows, write_run

OnHub = Callable[..., Any]
FIGURES = ("copied", "funnel", "labels", "scores", "sources", "texts", "time", "worth_it")
LEARNT = ((0.9, 0.5), (0.4, 0.75))
TRY = """
    from rebase_hf.errors import PublishError
    from rebase_hf.publish.hub import prove_write_access, push_dataset, push_student
    def outcome(do, *args, **kwargs):
        try:
            return do(*args, **kwargs)
        except PublishError as error:
            return f"PublishError: {error}"
"""


def test_pushed_dataset_reads_back_and_a_second_push_makes_no_commit(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"""{TRY}
    from datasets import load_dataset
    url = push_dataset(sys.argv[1], "org/triage", tag="v1")
    again = push_dataset(sys.argv[1], "org/triage", tag="v1")
    loaded = load_dataset("org/triage", revision="v1")
    first = loaded["train"][0]
    label = loaded["train"].features["team"].int2str(first["team"])
    result = [url == again, url, first["message"], label, first["provenance"], len(loaded["validation"])]
    """
    same, url, message, label, made_from, validation = on_hub(code, run)
    assert same
    assert url == f"{hub.url}/datasets/org/triage"
    assert message == "The invoice for January lists a fee that nobody told me about."
    assert (label, validation) == ("billing", 6)
    assert (made_from["dataset"], made_from["row"], made_from["license"]) == ("acme/helpdesk-mail", 3, "cc-by-4.0")
    commits = hub.commits("org/triage")
    assert [commit.title for commit in commits] == ["initial commit", "Add support-triage made by rebase_hf"]
    figures = {f"figures/{name}.svg" for name in FIGURES}
    data = {"data/train.parquet", "data/validation.parquet"}
    assert set(commits[-1].files) == {".gitattributes", "README.md", "report.json", "task.yaml"} | data | figures
    texts = b"".join(blob.content for blob in commits[-1].files.values() if not blob.lfs)
    assert b"/home/someone" not in texts
    assert b"a text that stays here" not in texts


def test_pushed_student_is_the_folder_with_its_card(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    (run / "student" / "local.json").write_text('{"index": "/home/someone/index"}')
    relist(run, "training.json")
    (run / "student" / "training.json").write_text('{"sources": {"/home/someone/mails": 4}}')
    epochs = [{"sources": {"/home/someone/mails": {"rows": 4, "loss": x, "accuracy": y}}} for x, y in LEARNT]
    (run / "student" / "provenance.json").write_text(json.dumps({"epochs": epochs, "rows": 4, "looked_at": 4}))
    code = f"{TRY}\n    result = push_student(sys.argv[1], 'org/student', private=True, dataset_id='org/triage')"
    on_hub(code, run)
    on_hub(code, run)
    repo = hub.repos["model", "org/student"]
    assert repo.private
    assert len(repo.commits) == 2
    told = {"README.md", "student.json", "training.json", "provenance.json"}
    assert (
        set(repo.files)
        == {".gitattributes", "model.safetensors", "figures/worth_it.svg", "figures/learning.svg"} | told
    )
    assert not [name for name, content in repo.files.items() if b"/home/someone" in content]
    assert "| mails | 4 | 0.900 to 0.400 | 0.500 to 0.750 |" in repo.files["README.md"].decode()
    assert repo.card(repo.head)["datasets"] == ["org/triage"]
    assert 'load_student("org/student")' in repo.files["README.md"].decode()


def relist(run: Path, *names: str) -> None:
    """Add names to the files that the student lists as its own."""
    path = run / "student" / "student.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"files": [*held["files"], *names]}))


def test_only_what_the_student_lists_leaves_and_names_no_folder(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    student = run / "student"
    adapter = {"base_model_name_or_path": "/home/someone/models/llm"}
    tokenizer = {"name_or_path": "/home/someone/models/llm", "chat_template": "{{ a }}\\n\\n{{ b }}"}
    for name, text in (
        ("adapter_config.json", json.dumps(adapter)),
        ("tokenizer_config.json", json.dumps(tokenizer)),
        ("tokenizer.json", '{"model": {"vocab": {"/usr/lib/x": 1}}}'),
        ("training_args.bin", "hf_" + "secret" * 4),
        ("checkpoint-10/optimizer.pt", "o"),
        ("checkpoint-10/trainer_state.json", "{}"),
        ("runs/events.out.tfevents.1.someones-laptop", "e"),
        (".env", "e"),
        ("notes.txt", "of /home/someone"),
    ):
        (student / name).parent.mkdir(exist_ok=True)
        (student / name).write_text(text)
    relist(run, "adapter_config.json", "tokenizer_config.json", "tokenizer.json", "training_args.bin", ".env")
    on_hub(f"{TRY}\n    result = push_student(sys.argv[1], 'org/student')", run)
    files = hub.repos["model", "org/student"].files
    own = {"student.json", "model.safetensors", "adapter_config.json"}
    tokens = {"tokenizer_config.json", "tokenizer.json"}
    assert set(files) == {".gitattributes", "README.md", "figures/worth_it.svg"} | own | tokens
    assert not [name for name, content in files.items() if b"/home/someone" in content]
    assert json.loads(files["adapter_config.json"]) == {"base_model_name_or_path": "llm"}
    assert json.loads(files["tokenizer_config.json"]) == tokenizer | {"name_or_path": "llm"}
    assert files["tokenizer.json"] == (student / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda student: (student / "student.json").unlink(), "has no student.json"),
        (lambda student: (student / "student.json").write_text('{"format": 1, "kind": "setfit"}'), "does not list"),
        (lambda student: (student / "student.json").write_text("{"), "can't be read"),
        (lambda student: (student / "model.safetensors").unlink(), "lacks `model.safetensors`"),
    ],
)
def test_what_is_no_complete_student_is_not_published(run: Path, change: Callable[[Path], Any], said: str) -> None:
    change(run / "student")
    with pytest.raises(PublishError, match=said):
        push_student(run, "org/student")


def test_files_of_an_earlier_student_go_when_the_new_one_lacks_them(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"{TRY}\n    result = push_student(sys.argv[1], 'org/student')"
    (run / "student" / "head.safetensors").write_bytes(b"head")
    epochs = [{"sources": {"mails": {"rows": 4, "loss": x, "accuracy": y}}} for x, y in LEARNT]
    (run / "student" / "provenance.json").write_text(json.dumps({"epochs": epochs, "rows": 4, "looked_at": 4}))
    (run / "student" / "model_head.pkl").write_bytes(b"a pickle")
    relist(run, "head.safetensors", "model_head.pkl")
    on_hub(code, run)
    hub.add_repo("org/student", {"NOTES.txt": "mine"}, repo_type="model")
    for name in ("head.safetensors", "model_head.pkl", "provenance.json"):
        (run / "student" / name).unlink()
    (run / "student" / "student.json").write_text('{"format": 1, "kind": "encoder", "files": ["model.safetensors"]}')
    on_hub(code, run)
    repo = hub.repos["model", "org/student"]
    kept = {".gitattributes", "NOTES.txt", "README.md", "figures/worth_it.svg"}
    assert set(repo.files) == kept | {"student.json", "model.safetensors"}
    assert len(repo.commits) == 4


def test_other_configurations_and_a_persons_notes_survive(
    hub: HubServer, on_hub: OnHub, run: Path, tmp_path: Path
) -> None:
    configs = "configs:\n- config_name: v0\n  data_files: v0/train.parquet\n"
    notes = "<!-- notes: mine -->\nAsk Ada first.\n<!-- end of notes -->\n"
    card = f"---\nlicense: mit\nannotations: ours\n{configs}---\n# Old\n{notes}"
    pq.write_table(pa.table({"message": ["old"]}), tmp_path / "v0.parquet")
    hub.add_repo("org/triage", {"README.md": card, "v0/train.parquet": (tmp_path / "v0.parquet").read_bytes()})
    code = f"""{TRY}
    from datasets import load_dataset
    push_dataset(sys.argv[1], "org/triage")
    push_dataset(sys.argv[1], "org/triage")
    old = load_dataset("org/triage", "v0", split="train")
    result = [old["message"][:], len(load_dataset("org/triage", split="train"))]
    """
    assert on_hub(code, run) == [["old"], 54]
    repo = hub.repos["dataset", "org/triage"]
    assert len(repo.commits) == 2
    merged = repo.card(repo.head)
    assert [config["config_name"] for config in merged["configs"]] == ["default", "v0"]
    assert (merged["license"], merged["annotations"]) == ("cc-by-sa-4.0", "ours")
    assert "Ask Ada first." in repo.files["README.md"].decode()


def test_write_access_is_proved_without_writing(hub: HubServer, on_hub: OnHub) -> None:
    hub.add_repo("org/mine", {"a.txt": b"a"})
    code = f"""{TRY}
    result = [outcome(prove_write_access, *args) for args in (
        ("org/mine", "dataset"), ("org/new", "model"), ("others/x", "dataset"),
        ("org/mine", "dataset", "hf_testRead"), ("org/mine", "dataset", "hf_wrongwrong"), ("a/b/c", "dataset"),
    )]
    """
    mine, new, others, read, wrong, bad = on_hub(code)
    assert mine is new is None
    assert others.startswith(
        "PublishError: `tester` may not write to `others`. Use a repository of one of: tester, org."
    )
    assert "can only read" in read
    assert "answered 401" in wrong
    assert "no repository id" in bad
    assert len(hub.commits("org/mine")) == 1
    assert ("model", "org/new") not in hub.repos
    assert "no Hugging Face token" in on_hub(f"{TRY}\n    result = outcome(prove_write_access, 'org/x')", token=None)


def test_a_push_that_fails_leaves_nothing_half_done_and_can_be_repeated(
    hub: HubServer, on_hub: OnHub, run: Path
) -> None:
    hub.fail("POST", "/commit/", 412)
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage')"
    assert "Somebody else committed meanwhile" in on_hub(code, run)
    assert set(hub.repos["dataset", "org/triage"].files) == {".gitattributes"}
    assert on_hub(code, run) == f"{hub.url}/datasets/org/triage"


@pytest.mark.parametrize(
    ("license_", "said"),
    [
        (None, "unknown licence"),
        ("odbl", "can't be combined"),
        ("proprietary-research-only", "no licence whose terms"),
    ],
)
def test_unknown_or_conflicting_licences_are_refused_before_anything_is_sent(
    tmp_path: Path, license_: str | None, said: str
) -> None:
    rows = make_rows("teacher")
    for row in rows[:28]:
        row["provenance"]["license"] = row["sources"][0]["license"] = license_
    with pytest.raises(PublishError, match=rf"{said}.*acme/helpdesk-mail.*--license"):
        push_dataset(write_run(tmp_path / "run", rows), "org/triage")


def test_a_default_configuration_of_somebody_else_is_not_overwritten(run: Path) -> None:
    theirs = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files: a.csv\n---\n# Theirs\n"
    with pytest.raises(PublishError, match="`default` configuration that rebase_hf did not make"):
        merge_card(render_dataset_card(run), theirs)


def test_configurations_that_could_not_be_read_beside_parquet_are_refused(run: Path) -> None:
    theirs = "---\nlicense: mit\nconfigs:\n- config_name: v0\n  data_files: v0.jsonl\n---\n# Theirs\n"
    with pytest.raises(PublishError, match="`v0` is not in parquet"):
        merge_card(render_dataset_card(run), theirs)


@pytest.mark.parametrize("render", [render_dataset_card, render_student_card])
def test_notes_survive_where_the_line_that_ends_them_is_deleted(run: Path, render: Callable[[Path], str]) -> None:
    new = render(run)
    mine = "Ask Ada first.\n\n## My heading\n\nAnd *then* Ben."
    begin = new.index("<!-- notes:")
    line = new.index("\n", begin) + 1
    old = new[:line] + f"{mine}\n" + new[new.index("<!-- end of notes -->") + len("<!-- end of notes -->\n") :]
    assert "<!-- end of notes -->" not in old
    merged = merge_card(new, old)
    assert merged == new.replace("<!-- end of notes -->", f"{mine}\n<!-- end of notes -->")
    assert merge_card(new, merged) == merged
    broken = merged.replace(merged[begin:line], "")
    with pytest.raises(PublishError, match="not the one before your notes"):
        merge_card(new, broken)


def test_what_the_last_run_measured_does_not_stay_on_the_card(run: Path) -> None:
    new = render_dataset_card(run)
    old = new.replace("tags:\n", "doi: 10.1/x\nmetrics: [accuracy]\ntags:\n- ours\n", 1)
    merged = merge_card(new, old)
    assert "doi: 10.1/x" in merged
    assert "- ours" in merged
    assert "metrics:" not in merged


def test_rows_do_not_tell_folders_of_this_machine(hub: HubServer, on_hub: OnHub, tmp_path: Path) -> None:
    rows = make_rows("/home/someone/models/llm")
    for row in rows[28:48]:
        row["provenance"] |= {"url": "file:///home/someone/data/mails.csv"}
        row["sources"][0] |= {"dataset": "/home/someone/data/mails"}
    for redacted, name in ((False, "org/triage"), (True, "org/redacted")):
        run = with_private_rows(write_run(tmp_path / name, rows)) if redacted else write_run(tmp_path / name, rows)
        on_hub(f"{TRY}\n    result = push_dataset(sys.argv[1], {name!r}, redact={redacted})", run)
        files = hub.repos["dataset", name].files
        assert not [file for file, content in files.items() if b"/home/someone" in content]
        tables = [pq.read_table(pa.BufferReader(files[f"data/{s}.parquet"])) for s in ("train", "validation")]
        pushed = [row for table in tables for row in table.to_pylist()]
        assert {row["provenance"]["teacher"] for row in pushed} == {"llm"}
        assert [row["provenance"]["url"] for row in pushed[28:48]] == ["mails.csv"] * 20
        assert [row["sources"][0]["dataset"] for row in pushed[28:48]] == ["mails"] * 20
        assert pushed[0]["provenance"]["url"] == "https://huggingface.co/datasets/acme/helpdesk-mail"
        assert tables[0].schema.metadata == pq.read_schema(run / "data" / "train.parquet").metadata


def with_private_rows(run: Path) -> Path:
    """Put an address and a number into one row of a run, and its card's first example."""
    path = run / "data" / "train.parquet"
    table = pq.read_table(path)
    texts = table.column("message").to_pylist()
    texts[0] = "Please write to ann.berg@mail.net or call +49 30 901820."
    table = table.set_column(table.column_names.index("message"), table.schema.field("message"), pa.array(texts))
    pq.write_table(table, path)
    return run


@pytest.mark.slow
def test_what_looks_personal_stops_a_push_until_it_is_said_what_to_do(
    hub: HubServer, on_hub: OnHub, run: Path
) -> None:
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage')"
    refused = on_hub(code, with_private_rows(run))
    assert "of kind `email` (train row 0, message" in refused and "--redact" in refused
    assert "ann.berg" not in refused
    assert ("dataset", "org/triage") not in hub.repos
    code = f"""{TRY}
    from datasets import load_dataset
    push_dataset(sys.argv[1], "org/triage", redact=True)
    loaded = load_dataset("org/triage")["train"]
    result = [loaded[0]["message"], loaded[1]["message"], str(loaded.features["team"])]
    """
    first, second, feature = on_hub(code, run)
    assert first == "Please write to [email] or call [phone]." and "ClassLabel" in feature and second
    texts = b"".join(blob.content for blob in hub.commits("org/triage")[-1].files.values() if not blob.lfs)
    assert b"ann.berg" not in texts and b"901820" not in texts
    # The run itself stays as it was.
    assert "ann.berg" in pq.read_table(run / "data" / "train.parquet").column("message")[0].as_py()
    kept = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/other', keep_personal=True)"
    assert on_hub(kept, run).endswith("/datasets/org/other")


def test_keys_are_never_sent_as_they_are(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    path = run / "data" / "train.parquet"
    table = pq.read_table(path)
    texts = ["my token is hf_" + "Ab3" * 8, *table.column("message").to_pylist()[1:]]
    table = table.set_column(table.column_names.index("message"), table.schema.field("message"), pa.array(texts))
    pq.write_table(table, path)
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage', keep_personal=True)"
    assert "keys or passwords" in on_hub(code, run)
