"""Small multi-vector models with random weights, saved by sentence-transformers itself."""

import json
import shutil
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.models import TEXTS, embedder, ettin

DIMENSION = 16
DOCUMENT_TOKENS = 48


def trunk(folder: Path, kind: str) -> Path:
    """Write the transformers model that a multi-vector model is built on."""
    folder.mkdir(parents=True)
    if kind == "modernbert":
        return ettin(folder, hidden=64, layers=4, heads=2)
    embedder(folder)
    if kind == "lfm2":
        _lfm2(folder)
    return folder


def _lfm2(folder: Path) -> None:
    """Write a model of convolutions and attention over the one in a folder."""
    import torch
    from transformers import Lfm2Config, Lfm2Model

    torch.manual_seed(4)
    shape: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "layer_types": ["conv", "full_attention"],
        "max_position_embeddings": 512,
    }
    Lfm2Model(Lfm2Config(**shape)).save_pretrained(folder)


def multi_vector(
    folder: Path,
    kind: str = "bert",
    *,
    expansion: dict[str, Any] | None = None,
    skipped: bool = False,
    prompts: tuple[str, str] = ("[Q] ", "[D] "),
    similarity: str = "maxsim",
    added: Sequence[str] = (),
    **mask: Any,
) -> Path:
    """Have sentence-transformers save a model: a trunk, a projection, a mask and unit length."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from tokenizers.normalizers import Lowercase

    base = Transformer(
        str(trunk(folder / "trunk", kind)),
        document_length=DOCUMENT_TOKENS,
        query_expansion=expansion,
    )
    torch.manual_seed(5)
    if added:
        # In lower case a text contains such a token only if the tokenizer does not normalise.
        base.tokenizer.backend_tokenizer.normalizer = Lowercase()
        base.tokenizer.add_tokens(list(added))
        base.model.resize_token_embeddings(len(base.tokenizer))
    modules = [
        base,
        Dense(
            base.get_embedding_dimension(),
            DIMENSION,
            bias=False,
            activation_function=torch.nn.Identity(),
            module_input_name="token_embeddings",
        ),
        MultiVectorMask(list(string.punctuation) if skipped else None, **mask),
        Normalize(module_input_name="token_embeddings"),
    ]
    model = MultiVectorEncoder(
        modules=modules,
        prompts=dict(zip(("query", "document"), prompts, strict=True)),
        similarity_fn_name=similarity,
        device="cpu",
    )
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


def pylate(folder: Path, kind: str = "bert", **settings: Any) -> Path:
    """Write a model in the layout of PyLate 1: no mask, and prompts outside the modules.

    Its tokenizer has the prefixes as tokens, as PyLate adds them.
    """
    model = multi_vector(folder, kind, added=("[Q] ", "[D] "))
    modules = json.loads((model / "modules.json").read_text())[:2]
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (model / "modules.json").write_text(json.dumps(modules))
    dense = json.loads((model / modules[1]["path"] / "config.json").read_text())
    del dense["module_input_name"], dense["module_output_name"]
    (model / modules[1]["path"] / "config.json").write_text(json.dumps(dense))
    for path in model.glob("[2-9]_*"):
        shutil.rmtree(path)
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 511}))
    known = {
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 32,
        "document_length": DOCUMENT_TOKENS,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
        **settings,
    }
    (model / "config_sentence_transformers.json").write_text(json.dumps(known))
    return model


def stanford(folder: Path, **metadata: Any) -> Path:
    """Write a model in the layout of Stanford's ColBERT, with the projection among the weights."""
    import torch
    from safetensors.torch import load_file, save_file

    model = trunk(folder / "model", "bert")
    weights = {f"bert.{name}": w for name, w in load_file(model / "model.safetensors").items()}
    torch.manual_seed(5)
    weights["linear.weight"] = torch.randn(DIMENSION, len(weights["bert.pooler.dense.bias"]))
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    known = {"query_token_id": "ferry", "doc_token_id": "the", "doc_maxlen": DOCUMENT_TOKENS}
    (model / "artifact.metadata").write_text(json.dumps({**known, "query_maxlen": 32, **metadata}))
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (model / name).unlink()
    shutil.rmtree(model / "1_Pooling")
    return model


def word_pieces(model: Path) -> Path:
    """Give a model BERT's kind of tokenizer, which has unused tokens."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    words = sorted({word.strip(string.punctuation).lower() for word in " ".join(TEXTS).split()})
    letters = [*string.ascii_lowercase, *string.digits]
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "[unused0]", "[unused1]"]
    pieces = [*special, *string.punctuation, *letters, *(f"##{one}" for one in letters), *words]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=BertWordPieceTokenizer(vocab=vocabulary),
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(model)
    return model
