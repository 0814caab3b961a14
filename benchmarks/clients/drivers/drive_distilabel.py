"""distilabel: a pipeline of one TextGeneration. Modes: "tgi", its client for TGI and endpoints; "openai"."""

import os

# Read while distilabel is imported. Left alone, it logs each request that it sends.
os.environ["DISTILABEL_LOG_LEVEL"] = "WARNING"

from datasets import Dataset  # noqa: E402
from distilabel.models import InferenceEndpointsLLM, OpenAILLM  # noqa: E402
from distilabel.pipeline import Pipeline  # noqa: E402
from distilabel.steps.tasks import TextGeneration  # noqa: E402
from job import Job, run  # noqa: E402


def answers(job: Job) -> list[str | None]:
    """Return the generations."""
    if job.mode == "tgi":
        llm = InferenceEndpointsLLM(base_url=job.url, api_key="none")
    else:
        llm = OpenAILLM(model="benchmark/teacher", base_url=f"{job.url}/v1", api_key="none")
    settings = {} if job.in_flight is None else {"input_batch_size": job.in_flight}
    with Pipeline(name="benchmark", cache_dir=job.folder) as pipeline:
        TextGeneration(llm=llm, **settings)
    made = pipeline.run(dataset=Dataset.from_list([{"instruction": prompt} for prompt in job.prompts]))
    return list(made["default"]["train"]["generation"])


if __name__ == "__main__":
    run(answers)
