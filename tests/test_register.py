import subprocess
import sys

import datasets
import pytest
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as packaged

from rebase_hf.register import register, unregister


def test_registering_twice_changes_nothing():
    register()
    factory, entry = datasets.load.PackagedDatasetModuleFactory, packaged["rebase"]
    register()
    assert datasets.load.PackagedDatasetModuleFactory is factory and packaged["rebase"] == entry


def test_unregistering_leaves_datasets_as_it_was():
    untouched = subprocess.run(
        [sys.executable, "-c", "import datasets; print(datasets.load.PackagedDatasetModuleFactory.__mro__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    try:
        unregister()
        assert "rebase" not in packaged
        assert str(datasets.load.PackagedDatasetModuleFactory.__mro__) == untouched
        unregister()
    finally:
        register()
    assert packaged["rebase"][0] == "rebase_hf.builder"


def test_a_foreign_rebase_is_not_overwritten():
    unregister()
    packaged["rebase"] = ("somebody.elses.module", "hash")
    try:
        with pytest.raises(RuntimeError, match=r"already belongs to somebody\.elses\.module"):
            register()
        assert packaged["rebase"] == ("somebody.elses.module", "hash")
    finally:
        del packaged["rebase"]
        register()


def test_other_packaged_builders_still_load(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert datasets.load_dataset("csv", data_files=str(tmp_path / "rows.csv"), split="train")[0] == {"a": 1, "b": 2}
