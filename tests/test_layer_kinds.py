"""A ModernBERT configuration is read as transformers reads it, from any version."""

import json
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.benchmark import flops as work
from ettin_cli.models.engines.modernbert import layer_kinds, local_reach
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import load_cross_encoder
from ettin_cli.records import Silence
from tests.models import ettin
from tests.test_onnx_model import CPU, expected, pairs_of, scored


@pytest.mark.parametrize(
    "written",
    [
        {"global_attn_every_n_layers": 3},
        {"global_attn_every_n_layers": 2},
        {"layer_types": ["sliding_attention"] * 7 + ["full_attention"]},
        {"layer_types": ["full_attention"] * 8, "global_attn_every_n_layers": 3},
        {},
        {"layer_types": None, "local_attention": 32},
    ],
    ids=str,
)
def test_layers_are_of_the_kinds_that_transformers_reads(written: dict[str, Any]) -> None:
    from transformers import ModernBertConfig

    config: dict[str, Any] = {"num_hidden_layers": 8, **written}
    theirs = ModernBertConfig(**config)
    assert layer_kinds(config) == theirs.layer_types
    assert local_reach(config) == theirs.sliding_window
    files = ModelFiles("m", Path())
    shape = {"model_type": "modernbert", "hidden_size": 8, "intermediate_size": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "read_json", lambda *_, **__: {**shape, **config})
        found = work.shape_of(files)
    assert found is not None
    assert theirs.layer_types is not None
    assert found.reaches == [
        None if kind == "full_attention" else theirs.sliding_window for kind in theirs.layer_types
    ]


@pytest.mark.parametrize("length", [20, 300])
@pytest.mark.parametrize("newer", [True, False])
def test_a_configuration_of_either_age_gives_the_scores_of_sentence_transformers(
    tmp_path: Path, newer: bool, length: int
) -> None:
    folder = ettin(tmp_path / "m", hidden=64, layers=5, heads=2)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name in ("global_attn_every_n_layers", "layer_types", "rope_parameters"):
        config.pop(name, None)
    if newer:
        # Neither the layers nor the angles are the defaults.
        config["layer_types"] = ["sliding_attention", "full_attention"] * 2 + ["full_attention"]
        config["rope_parameters"] = {
            "full_attention": {"rope_type": "default", "rope_theta": 5_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 700.0},
        }
    else:
        config |= {"global_attn_every_n_layers": 2, "local_rope_theta": 700.0}
        config["global_rope_theta"] = 5_000.0
    path.write_text(json.dumps(config))
    pairs = pairs_of((length,))
    model = load_cross_encoder(folder, CPU, Silence())
    assert model.backend.startswith("onnxruntime")
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=1e-4)


def test_a_last_layer_of_local_attention_needs_no_torch(tmp_path: Path) -> None:
    folder = ettin(tmp_path / "m", hidden=64, layers=4, heads=2)
    config = json.loads((folder / "config.json").read_text())
    del config["layer_types"]
    (folder / "config.json").write_text(json.dumps({**config, "global_attn_every_n_layers": 2}))
    pairs = pairs_of((300,))
    assert load_cross_encoder(folder, CPU, Silence()).backend.startswith("onnxruntime")
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=1e-4)
