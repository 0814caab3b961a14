"""datatrove's InferenceRunner, asked for an endpoint.

Modes: "bare" keeps nothing; else checkpoints are written. "remote" makes it take the server for one on another
machine, which it asks through the OpenAI SDK instead of over sockets of its own.
"""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
from job import Job, run
from loguru import logger


async def rollout(document, generate):
    """Ask about one document."""
    return (await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 1000})).text


def answers(job: Job) -> list[str]:
    """Return what the documents hold in the end."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    folder = Path(job.folder)
    url, key = job.url, None
    if job.mode == "remote":
        # A spelling of this machine's address that is not on its list of them.
        url, key = f"http://127.1:{urlsplit(job.url).port}", "none"
    settings = {} if job.in_flight is None else {"max_concurrent_generations": job.in_flight}
    config = InferenceConfig(
        server_type="endpoint", model_name_or_path="benchmark/teacher", endpoint_url=url, api_key=key, **settings
    )
    kept = None if job.mode == "bare" else str(folder / "checkpoints")
    writer = JsonlWriter(str(folder / "out"), output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None)
    documents = [Document(text=prompt, id=str(number)) for number, prompt in enumerate(job.prompts)]
    runner = InferenceRunner(rollout_fn=rollout, config=config, output_writer=writer, checkpoints_local_dir=kept)
    LocalPipelineExecutor(pipeline=[documents, runner], tasks=1, logging_dir=None).run()
    written = sorted((folder / "out").glob("*.jsonl"))
    lines = [line for path in written for line in path.read_text().splitlines()]
    return [json.loads(line)["metadata"]["rollout_results"][0] for line in lines]


if __name__ == "__main__":
    run(answers)
