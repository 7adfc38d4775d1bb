"""Models of exact architectures with seeded random weights, laid out as on the hub."""

import json
from pathlib import Path
from typing import Any

TEXTS = [
    "The ferry sails at nine o'clock from the western pier.",
    "Knead the dough for ten minutes and let it rest.",
    "Where was the telescope first built, and who paid for it?",
]


def ettin(
    folder: Path,
    *,
    hidden: int = 256,
    layers: int = 7,
    heads: int = 4,
    vocabulary: int | None = None,
) -> Path:
    """Write a reranker of Ettin's architecture; the defaults have the shape of 17m.

    Args:
        vocabulary: Rows of the table of tokens; None: as many as the tokenizer has.
    """
    import torch
    from transformers import ModernBertModel

    torch.manual_seed(12)
    size = tokenizer(folder)
    shape = ettin_shape(vocabulary or size, hidden, hidden * 3 // 2, layers, heads)
    ModernBertModel(shape).save_pretrained(folder)
    return ettin_head(folder, hidden)


def ettin_shape(vocabulary: int, hidden: int, intermediate: int, layers: int, heads: int) -> Any:
    """Return the configuration of Ettin's trunk."""
    from transformers import ModernBertConfig

    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "max_position_embeddings": 7999,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return ModernBertConfig(**shape)


def ettin_head(folder: Path, hidden: int) -> Path:
    """Write the modules behind Ettin's trunk, and what sentence-transformers needs."""
    import torch
    from safetensors.torch import save_file

    module = "sentence_transformers.base.modules."
    identity, gelu = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"
    heads_of = [
        ("", "sentence_transformers.base.modules.transformer.Transformer", {}, {}),
        (
            "1_Pooling",
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            {"embedding_dimension": hidden, "pooling_mode": "cls"},
            {},
        ),
        (
            "2_Dense",
            module + "dense.Dense",
            _dense(hidden, hidden, gelu, bias=False),
            {"linear.weight": torch.randn(hidden, hidden) / hidden**0.5},
        ),
        (
            "3_LayerNorm",
            "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
            {"dimension": hidden},
            {"norm.weight": 1 + torch.randn(hidden) / 10, "norm.bias": torch.randn(hidden) / 10},
        ),
        (
            "4_Dense",
            module + "dense.Dense",
            {**_dense(hidden, 1, identity, bias=True), "module_output_name": "scores"},
            {"linear.weight": torch.randn(1, hidden), "linear.bias": torch.randn(1)},
        ),
    ]
    modules = []
    for number, (path, kind, settings, weights) in enumerate(heads_of):
        modules.append({"idx": number, "name": str(number), "path": path, "type": kind})
        if path:
            (folder / path).mkdir()
            (folder / path / "config.json").write_text(json.dumps(settings))
        if weights:
            save_file(weights, folder / path / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"model_type": "CrossEncoder", "activation_fn": identity})
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"transformer_task": "feature-extraction"})
    )
    return folder


def embedder(
    folder: Path,
    *,
    hidden: int = 32,
    seed: int = 1,
    max_tokens: int = 64,
    pooling: dict[str, object] | None = None,
    prompts: dict[str, str | None] | None = None,
) -> Path:
    """Write a sentence-transformers embedder: a BERT of two layers with mean pooling."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": tokenizer(folder),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }
    BertModel(BertConfig(**shape)).save_pretrained(folder)
    settings = pooling or {"pooling_mode": "mean"}
    parts = [
        ("", "sentence_transformers.base.modules.transformer.Transformer"),
        ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"),
    ]
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", {"embedding_dimension": hidden, **settings})
    _write(
        folder / "modules.json",
        [{"idx": n, "name": str(n), "path": p, "type": t} for n, (p, t) in enumerate(parts)],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens})
    _write(
        folder / "config_sentence_transformers.json",
        {"model_type": "SentenceTransformer", "prompts": prompts or {}},
    )
    return folder


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def _dense(size: int, out: int, activation: str, *, bias: bool) -> dict[str, object]:
    return {
        "in_features": size,
        "out_features": out,
        "bias": bias,
        "activation_function": activation,
        "module_input_name": "sentence_embedding",
    }


def tokenizer(folder: Path, *, side: str = "right", template: str = "[CLS] $A [SEP]") -> int:
    """Write a byte-level BPE with Ettin's template: [CLS] query [SEP] document [SEP].

    Args:
        side: Where padding goes.
        template: What stands around one text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single=template,
        pair="[CLS] $A [SEP] $B:0 [SEP]:0",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_max_length=7999,
        padding_side=side,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return int(made.get_vocab_size())
