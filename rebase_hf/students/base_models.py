"""Whether a model is one that a kind of student can be trained from: told by its configuration alone."""

import json
from pathlib import Path
from typing import Any

from rebase_hf.embedding_model import find_embedding_model
from rebase_hf.errors import StudentError, require

STATIC = "StaticEmbedding"


def check_auto_model(auto_class: str, name: str) -> Any:
    """Return a model's configuration, once it is known that an Auto class of transformers loads such models.

    Args:
        name: A folder, or an id on the Hub, of which no more than `config.json` is fetched.

    Raises:
        StudentError: There is no such model, or it is of another kind.
    """
    config = _config_of(name, auto_class)
    import transformers

    if type(config) not in getattr(transformers, auto_class)._model_mapping:
        raise StudentError(
            f"Model {name} can't be loaded by {auto_class}: it is a {type(config).__name__[: -len('Config')]} model. "
            "Give a folder or a Hub id of a model of that kind."
        )
    return config


def check_classifier(auto_class: str, name: str) -> None:
    """Raise where a model can't become a classifier that reads a text from both sides.

    Raises:
        StudentError: There is no such model, or it is a decoder, which reads from left to right alone.
    """
    config = check_auto_model(auto_class, name)
    import transformers

    writes = type(config) in transformers.AutoModelForCausalLM._model_mapping
    if writes and type(config) not in transformers.AutoModelForMaskedLM._model_mapping:
        raise StudentError(
            f"Model {name} is a decoder ({type(config).__name__[: -len('Config')]}), and this student is an encoder "
            "with a head. Give an encoder, or train a `causal` student from it."
        )


def check_sentence_encoder(name: str, *, static: bool) -> None:
    """Raise where a model is no sentence encoder.

    Args:
        static: A table of word vectors will do.

    Raises:
        StudentError: There is no such model, or it is such a table, in which there is nothing to fine-tune.
    """
    modules = _modules_of(name)
    if modules is None:
        _config_of(name, "sentence-transformers")
    elif not static and any(STATIC in str(module.get("type")) for module in modules):
        raise StudentError(
            f"Base model {name} has static embeddings: no encoder that a SetFit student could fine-tune. Give another "
            "base model, or train a `linear` student from it."
        )


def _modules_of(name: str) -> list[dict[str, Any]] | None:
    """Return the modules of a sentence-transformers model; None where it says nothing of any."""
    found = Path(find_embedding_model(name))
    file = found / "modules.json" if found.is_dir() else _from_hub(str(found), "modules.json")
    if file is None or not file.is_file():
        return None
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudentError(f"{file} is not JSON: {error}. Give another base model, or repair it.") from error
    return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else None


def _from_hub(repo_id: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repo_id, name))
    except EntryNotFoundError:  # also where it can't be fetched: then `config.json` is asked for, and says so
        return None
    except (HfHubHTTPError, HFValidationError) as error:
        raise _not_there(repo_id, error) from error


def _config_of(name: str, wanted_by: str) -> Any:
    require("transformers", what="A student of this kind", extra="trainer")
    from transformers import AutoConfig

    found = find_embedding_model(name)
    try:
        return AutoConfig.from_pretrained(found, trust_remote_code=False)
    except (OSError, ValueError) as error:
        if Path(found).is_dir():
            raise StudentError(
                f"Model {name} can't be loaded by {wanted_by}: {' '.join(str(error).split())} "
                "Give a folder or a Hub id of a model of that kind."
            ) from error
        raise _not_there(found, error) from error


def _not_there(name: str, error: Exception) -> StudentError:
    return StudentError(
        f"The student's base model `{name}` is neither a folder here nor in the local cache, and the Hub does not "
        f"give it ({' '.join(str(error).split())}). Name another with --base-model, or make the dataset alone with "
        "`rebase-hf generate`."
    )
