"""Data Designer: rows as a seed file, one column of an LLM's text; telemetry and the metrics' port are off."""

import os

# Read while data_designer is imported.
os.environ |= {"NEMO_TELEMETRY_ENABLED": "false"}

from pathlib import Path  # noqa: E402

import data_designer.config as config  # noqa: E402
import pandas  # noqa: E402
from data_designer.interface import DataDesigner, ResumeMode  # noqa: E402
from job import Job, run  # noqa: E402


def answers(job: Job) -> list[str | None]:
    """Return the column."""
    folder, prompts = Path(job.folder), job.prompts
    seed = folder / "seed.parquet"
    if not seed.exists():
        pandas.DataFrame({"asked": prompts}).to_parquet(seed)
    provider = config.ModelProvider(name="benchmark", endpoint=f"{job.url}/v1", provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=str(folder / "artifacts"), model_providers=[provider])
    # A smaller row group is what its documentation offers to those who want to lose less when killed.
    groups = {} if job.in_flight is None else {"buffer_size": job.in_flight}
    designer.set_run_config(config.RunConfig(otel_metrics_port=None, **groups))
    settings = {} if job.in_flight is None else {"max_parallel_requests": job.in_flight}
    model = config.ModelConfig(
        alias="model",
        model="benchmark/teacher",
        provider="benchmark",
        # One question before all others; where that one is refused, the run ends before it began.
        skip_health_check=True,
        inference_parameters=config.ChatCompletionInferenceParams(**settings),
    )
    builder = config.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(config.LocalFileSeedSource(path=str(seed)))
    builder.add_column(config.LLMTextColumnConfig(name="answer", model_alias="model", prompt="{{ asked }}"))
    made = designer.create(builder, num_records=len(prompts), dataset_name="benchmark", resume=ResumeMode.IF_POSSIBLE)
    return list(made.load_dataset()["answer"])


if __name__ == "__main__":
    run(answers)
