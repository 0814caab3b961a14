"""What is said of licences before anything is paid, and what the run keeps of the teacher's."""

import logging
from pathlib import Path

from rebase_hf.errors import PublishError
from rebase_hf.plan import Plan
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.licenses import derive_license, with_teacher
from rebase_hf.publish.teacher_card import teacher_license
from rebase_hf.publish.teacher_terms import TeacherLicense, flagged
from rebase_hf.run_folder import write_report_json

logger = logging.getLogger(__name__)

_SHOWN = 300


def licenses_before_paying(plan: Plan, named: str | None, *, push_to: str | None = None) -> TeacherLicense:
    """Tell what stands against publishing what a plan would make; return the teacher's licence.

    An index may have been built with `--license any`, perhaps by somebody else. Which of its rows will be used is not
    known yet, so licences that can't be combined are only told; one that forbids it refuses `--push-to`.

    Args:
        named: The teacher's licence, as the user gives it.
        push_to: Where the run is to be published when it is done.

    Raises:
        PublishError: Rows of a source may not be published, and `push_to` asks for it; or the teacher's licence is
            none that the Hub knows.
    """
    licensed = flagged(named) or teacher_license(plan.teacher, plan.identity)
    sources: dict[str, str] = {}
    for source in () if plan.index is None else plan.index.sources:
        before = f"{sources[source.dataset]}," if source.dataset in sources else ""
        sources[source.dataset] = before + (source.license or "")
    for dataset, held in sources.items():
        problems = derive_license({dataset: held}).problems
        if problems and push_to is not None:
            raise PublishError(
                f"The run could not be published to {push_to}: the index holds sources whose rows may not be: "
                f"{'; '.join(derive_license(sources).problems)[:_SHOWN]}. Take them out with `rebase-hf index remove "
                f"{plan.index.path.name if plan.index else 'INDEX'} {dataset}`, or leave out --push-to and push when "
                "it is known which rows were used."
            )
    if problems := with_teacher(derive_license(sources), licensed.identifier).problems:
        logger.warning(
            "Nothing that is made of these sources together may be published: %s. Those whose rows are used count.",
            "; ".join(problems)[:_SHOWN],
        )
    return licensed


def record_teacher_license(folder: Path, named: str) -> None:
    """Write into a run's report under which licence its teacher's model is.

    Raises:
        PublishError: It is no licence that the Hub knows, or the folder is no finished run.
    """
    write_report_json(folder, FinishedRun.open(folder).with_teacher_license(flagged(named)).report)
