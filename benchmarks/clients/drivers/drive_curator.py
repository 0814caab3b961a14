"""curator: a subclass of `LLM`, called with all rows at once; telemetry and the hosted viewer are off."""

import os

# Read while curator is imported.
os.environ |= {"TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": "none"}

from bespokelabs import curator  # noqa: E402
from job import Job, run  # noqa: E402
from token_counts import without_download  # noqa: E402

NO_LIMIT = 10**9


class Asking(curator.LLM):
    """Sends a row's text as it is, and keeps the answer as it comes."""

    def prompt(self, row):
        """Return what is asked."""
        return row["prompt"]

    def parse(self, row, response):
        """Return what is kept."""
        return [{"answer": response}]


def answers(job: Job) -> list[str | None]:
    """Return the answers that the dataset holds."""
    without_download()
    os.environ["CURATOR_CACHE_DIR"] = job.folder
    settings = {"base_url": f"{job.url}/v1"}
    if job.in_flight is not None:
        settings |= {
            "max_concurrent_requests": job.in_flight,
            "max_requests_per_minute": NO_LIMIT,
            "max_tokens_per_minute": NO_LIMIT,
        }
    asking = Asking(model_name="benchmark/teacher", backend="openai", backend_params=settings)
    return list(asking([{"prompt": prompt} for prompt in job.prompts]).dataset["answer"])


if __name__ == "__main__":
    run(answers)
