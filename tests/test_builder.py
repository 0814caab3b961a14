import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from datasets import get_dataset_split_names, load_dataset, load_dataset_builder
from datasets.distributed import split_dataset_by_node

import rebase_hf
from rebase_hf import RowIndex, Teacher, generate
from rebase_hf.errors import NoExamplesError, TeacherRefused
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

ROOT = Path(__file__).parent.parent


def texts(rows):
    return [row["message"] for row in rows]


@pytest.fixture
def server(home):
    with TGIServer(answer=desk_answer) as double:
        yield double


@pytest.fixture
def asked(triage, bank_index, server):
    return {"task": triage, "index": bank_index, "teacher": server.url, "num_examples": 30}


def test_load_dataset_gives_the_task_with_a_class_label_and_provenance(asked, triage):
    dataset = load_dataset("rebase", **asked, split="train")
    assert dataset.num_rows == 30
    assert dataset.features["desk"].names == list(triage["labels"])
    assert list(dataset.features) == ["message", "desk", "provenance", "sources"]
    assert set(dataset[0]["provenance"]) == {
        "dataset", "config", "split", "revision", "row", "license", "url", "score", "method", "teacher", "prompt_id"
    }  # fmt: skip
    assert dataset[0]["sources"][0]["role"] == "context"


def test_the_same_call_again_sends_nothing_to_the_teacher(asked, server):
    first = load_dataset("rebase", **asked, split="train")
    sent = len(server.chat_requests)
    again = load_dataset("rebase", **asked, split="train")
    assert again.to_dict() == first.to_dict() and len(server.chat_requests) == sent


def test_it_equals_what_generate_gives(asked):
    dataset = load_dataset("rebase", **asked, split="train")
    task, index, teacher, n = asked.values()
    assert texts(dataset) == [e.fields["message"] for e in generate(task, index, teacher, num_examples=n)]


@pytest.mark.parametrize("stray", [(), ("data.jsonl", "train.csv")])
def test_the_working_directory_does_not_matter(asked, tmp_path, monkeypatch, stray):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in stray:
        (folder / name).write_text('{"junk": 1}\n')
    here = load_dataset_builder("rebase", **asked)
    monkeypatch.chdir(folder)
    there = load_dataset_builder("rebase", **asked)
    assert here.cache_dir == there.cache_dir
    assert load_dataset("rebase", **asked, split="train").num_rows == 30


def test_splits_slices_and_validation(asked):
    names = get_dataset_split_names("rebase", **asked, num_validation=10)
    assert names == ["train", "validation"]
    both = load_dataset("rebase", **asked, num_validation=10)
    assert {name: split.num_rows for name, split in both.items()} == {"train": 30, "validation": 10}
    assert not set(texts(both["train"])) & set(texts(both["validation"]))
    assert load_dataset("rebase", **asked, split="train[:10%]").num_rows == 3


def test_the_first_row_of_a_stream_comes_after_about_one_answer(home, triage, bank_index):
    with TGIServer(answer=desk_answer, latency=0.5, max_concurrent_requests=8) as server:
        stream = load_dataset(
            "rebase",
            task=triage,
            index=bank_index,
            teacher=server.url,
            num_examples=200,
            split="train",
            streaming=True,
        )
        began = time.monotonic()
        rows = iter(stream)
        first = next(rows)
        took = time.monotonic() - began
        assert first["message"] and took < 1.5, took
        assert len(server.chat_requests) <= 16
        rows.close()


def test_a_stream_gives_the_same_rows_as_the_dataset(asked):
    stream = load_dataset("rebase", **asked, split="train", streaming=True)
    assert texts(stream) == texts(load_dataset("rebase", **asked, split="train"))


@pytest.mark.parametrize("how", [{"streaming": True}, {}, {"num_proc": 2}])
def test_a_run_that_falls_short_says_so_once_a_call(asked, caplog, capfd, how):
    for _ in range(2):
        caplog.clear()
        load = load_dataset("rebase", **asked | {"num_examples": 3000}, num_validation=10, **how)
        if how.get("streaming"):
            assert 0 < sum(len(texts(load[name])) for name in ("train", "validation")) < 3000
        told = [record.getMessage() for record in caplog.records if "retrieved rows are used up" in record.message]
        assert len(told) <= 1
        if how != {"num_proc": 2}:  # there, a worker says it, on its standard error
            assert len(told) == (1 if how or _ == 0 else 0)


@pytest.mark.parametrize("workers", [2, 3])
def test_num_proc_gives_the_same_rows_in_the_same_order_and_asks_once(asked, server, workers):
    dataset = load_dataset("rebase", **asked, split="train", num_proc=workers)
    assert max(server.calls.values()) == 1
    task, index, teacher, n = asked.values()
    assert texts(dataset) == [e.fields["message"] for e in generate(task, index, teacher, num_examples=n)]


@pytest.mark.parametrize("nodes", [2, 3])
def test_nodes_share_one_run(asked, server, nodes):
    stream = load_dataset("rebase", **asked, split="train", streaming=True)
    parts = [texts(split_dataset_by_node(stream, rank, nodes)) for rank in range(nodes)]
    assert all(parts)
    assert sorted(sum(parts, [])) == sorted(texts(load_dataset("rebase", **asked, split="train")))
    assert max(server.calls.values()) == 1


@pytest.mark.slow
def test_data_loader_workers_share_one_run(asked, server):
    from torch.utils.data import DataLoader

    stream = load_dataset("rebase", **asked, split="train", streaming=True)
    loader = DataLoader(stream.select_columns(["message"]), num_workers=2, batch_size=4)
    found = [text for batch in loader for text in batch["message"]]
    assert sorted(found) == sorted(texts(load_dataset("rebase", **asked, split="train")))
    assert max(server.calls.values()) == 1


def test_a_changed_task_index_or_model_gives_other_data_and_another_address_does_not(
    asked, triage, tmp_path, bank_index, home
):
    first = load_dataset_builder("rebase", **asked).cache_dir
    file = tmp_path / "task.yaml"
    file.write_text(rebase_hf.Task.load(triage).to_yaml())
    from_file = load_dataset_builder("rebase", **asked | {"task": str(file)}).cache_dir
    assert from_file == first
    file.write_text(file.read_text().replace("customer's", "guest's"))
    assert load_dataset_builder("rebase", **asked | {"task": str(file)}).cache_dir != first
    with TGIServer(answer=desk_answer) as same, TGIServer(answer=desk_answer, model_id="other/model") as other:
        assert load_dataset_builder("rebase", **asked | {"teacher": same.url}).cache_dir == first
        assert load_dataset_builder("rebase", **asked | {"teacher": other.url}).cache_dir != first
    smaller = RowIndex.build(tmp_path / "idx", [str(ROOT / "examples/bank/parcel_mail")], encoder=bank_index.encoder)
    assert load_dataset_builder("rebase", **asked | {"index": smaller}).cache_dir != first


def test_no_key_or_address_stands_in_the_cache_path(asked, monkeypatch, server):
    monkeypatch.setenv("DESK_KEY", "sk-canary-1234")
    builder = load_dataset_builder("rebase", **asked, api_key_env="DESK_KEY", token="hf_canary5678")
    for secret in ("canary", "127.0.0.1", "DESK_KEY", server.url.rpartition(":")[2]):
        assert secret not in builder.cache_dir


def test_an_index_may_be_a_list_of_sources(home, triage, server):
    model = make_encoder_default()
    if model is None:
        pytest.skip("the default encoder is not installed here")
    sources = [str(ROOT / "examples/bank/parcel_mail")]
    dataset = load_dataset("rebase", task=triage, index=sources, teacher=server.url, num_examples=5, split="train")
    assert dataset.num_rows == 5


def make_encoder_default():
    from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model

    found = find_embedding_model()
    return None if found == DEFAULT_MODEL else found


def test_what_is_missing_or_unknown_is_named(asked):
    with pytest.raises(ValueError, match="needs index, teacher"):
        load_dataset("rebase", task=asked["task"])
    with pytest.raises(TypeError, match="num_exampels"):
        load_dataset("rebase", **asked, num_exampels=5)
    with pytest.raises(ValueError, match="reads no data files"):
        load_dataset("rebase", **asked, data_files="x.jsonl")
    with pytest.raises(ValueError, match="stand beside a Teacher"):
        load_dataset("rebase", **asked | {"teacher": Teacher(asked["teacher"])}, model="m")


def test_our_own_load_dataset_raises_our_own_errors(home, triage, bank_index):
    with (
        TGIServer(answer=lambda request, call: "never", enforce_schema=False) as server,
        pytest.raises(NoExamplesError, match="0 of 3 examples"),
    ):
        rebase_hf.load_dataset(task=triage, index=bank_index, teacher=server.url, num_examples=3)
    with (
        TGIServer(answer=desk_answer, api_key="k", model_id="b/b") as server,
        pytest.raises(TeacherRefused, match="401"),
    ):
        rebase_hf.load_dataset(task=triage, index=bank_index, teacher=server.url, num_examples=3)


def test_an_interrupted_load_goes_on_where_it_stopped(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        asked = {"task": triage, "index": bank_index, "num_examples": 30}
        short = rebase_hf.load_dataset(**asked, teacher=Teacher(server.url, max_requests=10), split="train")
        assert 0 < short.num_rows <= 10
        whole = rebase_hf.load_dataset(**asked, teacher=server.url, split="train")
        assert whole.num_rows == 30 and texts(whole)[: short.num_rows] == texts(short)
        assert max(server.calls.values()) == 1


def test_the_dataset_builder_module_stays_tiny():
    lines = (ROOT / "rebase_hf" / "builder.py").read_text().splitlines()
    assert len(lines) < 200


@pytest.mark.slow
def test_load_dataset_works_in_a_fresh_process_after_the_import(home, triage, bank_index, server, tmp_path):
    script = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from datasets import load_dataset
        import rebase_hf
        from tests.index.hashing_encoder import HashingEncoder
        index = rebase_hf.RowIndex.open({str(bank_index.path)!r}, encoder=HashingEncoder())
        asked = dict(task={dict(triage)!r}, index=index, teacher={server.url!r}, num_examples=7)
        print(load_dataset("rebase", **asked)["train"].num_rows)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.stdout.strip() == "7", done.stderr
