"""DataDreamer: a Prompt step over a DataSource, with its OpenAI client."""

from datadreamer import DataDreamer
from datadreamer.llms import OpenAI
from datadreamer.steps import DataSource, Prompt
from job import Job, run
from token_counts import without_download


def answers(job: Job) -> list[str | None]:
    """Return the generations."""
    without_download()
    settings = {} if job.in_flight is None else {"batch_size": job.in_flight}
    with DataDreamer(job.folder):
        # It knows how much a model takes by the model's name.
        llm = OpenAI(model_name="gpt-4", base_url=f"{job.url}/v1", api_key="none")
        rows = DataSource("rows", data={"asked": job.prompts})
        step = Prompt(
            "answers", inputs={"prompts": rows.output["asked"]}, args={"llm": llm, "max_new_tokens": 1000, **settings}
        )
        return list(step.output["generations"])


if __name__ == "__main__":
    run(answers)
