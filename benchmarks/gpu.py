"""Check and measure every route of a GPU, in about ten minutes and without network.

    python benchmarks/gpu.py [--device cuda] [--shape 17m] [--model FOLDER] [--pairs 8192]

Prints where models run, how well each dtype and attention agrees with the CPU in fp32, what happens
if memory runs out, the speed of tokenizing, inputs and forward passes apart and together, with
sentence-transformers and the release's speed beside, training steps, an embedder, a multi-vector
model, and several devices. Exits with 1 if any check fails. Weights are random, in the exact shape
of a model of the release, unless --model names a folder. `--device cpu --shape tiny --pairs 64`
tries the script itself.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host_speed import make_model, make_pairs, words

from ettin_cli.errors import EttinError, ModelError
from ettin_cli.models.embedders import load_embedder
from ettin_cli.models.engines import torch_runtime
from ettin_cli.models.engines.batching import batches
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import Kernel, find_kernel, is_unpadded
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import SharedCrossEncoder, TorchCrossEncoder
from ettin_cli.records import Silence
from ettin_cli.settings import ETTIN_MODELS
from ettin_cli.training.examples import read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.recipe import Recipe
from ettin_cli.training.run import TrainRequest, train

Pairs = list[tuple[str, str]]

SHAPES = {
    "tiny": {"hidden": 64, "layers": 4, "heads": 2},
    "17m": {"hidden": 256, "layers": 7, "heads": 4},
    "150m": {"hidden": 768, "layers": 22, "heads": 12},
}
# The largest differences from fp32 on the CPU, as a share of the scores' range if that is above 1.
MOST = {"fp32": 1e-3, "bf16": 0.2}


class Checks:
    """Prints results, and counts those that are wrong."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, name: str, text: str, *, ok: bool = True) -> None:
        """Print the result of a check."""
        self.failed += not ok
        print(f"{'  ' if ok else '! '}{name:34} {text}", flush=True)


class Shown(Silence):
    """Prints notices and what was chosen."""

    def notice(self, message: str) -> None:
        """Print the message."""
        print(f"    notice: {message}", flush=True)

    def detail(self, message: str) -> None:
        """Print the message."""
        print(f"    {message}", flush=True)


@contextmanager
def attention(*, unpadded: bool) -> Iterator[None]:
    """Load models with or without a kernel for batches without padding."""
    before = torch_runtime.find_kernel
    if not unpadded:
        torch_runtime.find_kernel = lambda device: "SDPA is measured"
    try:
        yield
    finally:
        torch_runtime.find_kernel = before


def routes(device: str) -> list[tuple[str, str, bool]]:
    """Return the names, dtypes and attentions to try on a device."""
    every = [("fp32 SDPA", "fp32", False), ("bf16 SDPA", "bf16", False)]
    there = isinstance(find_kernel(torch.device(device)), Kernel)
    return [*every, *([("bf16 unpadded", "bf16", True)] if there else [])]


def loaded(folder: Path, device: str, dtype: str, *, unpadded: bool) -> TorchCrossEncoder:
    """Return a cross-encoder on a device."""
    settings = EngineSettings(device, dtype, max_length=512, engine="torch")
    with attention(unpadded=unpadded):
        return TorchCrossEncoder(folder, Placement(settings, Silence()))


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def check_placement(device: str, check: Checks) -> None:
    """Show where models run, and that a missing device is an error."""
    check("torch", f"{torch.__version__}, CUDA {torch.version.cuda}")
    if device.startswith("cuda"):
        number = torch.device(device)
        name, capability = (
            torch.cuda.get_device_name(number),
            torch.cuda.get_device_capability(number),
        )
        check("device", f"{name}, capability {capability}, {torch.cuda.device_count()} visible")
    kernel = find_kernel(torch.device(device))
    check("kernel", kernel.title if isinstance(kernel, Kernel) else f"none: {kernel}")
    for wanted in ("auto", device):
        check(f"--device {wanted}", str(Placement(EngineSettings(wanted), Shown()).device))
    try:
        Placement(EngineSettings("cuda:99"), Silence())
        check("--device cuda:99", "was accepted", ok=False)
    except ModelError as error:
        check("--device cuda:99", error.problem)


def check_agreement(folder: Path, device: str, pairs: Pairs, check: Checks) -> None:
    """Compare the scores of every route with fp32 on the CPU."""
    wanted = loaded(folder, "cpu", "fp32", unpadded=False).score(pairs)[0]
    for name, dtype, unpadded in routes(device):
        one = loaded(folder, device, dtype, unpadded=unpadded)
        found = one.score(pairs)[0]
        alone = np.concatenate([one.score([pair])[0] for pair in pairs[:16]])
        apart = float(abs(found - wanted).max())
        top = set(np.argsort(-found)[:10]) & set(np.argsort(-wanted)[:10])
        same = np.array_equal(found, one.score(pairs)[0])
        most = MOST[dtype] * max(1.0, float(np.ptp(wanted)))
        check(
            f"agreement, {name}",
            f"at most {apart:.1e} apart; {len(set(found.tolist()))} distinct of {len(found)} "
            f"({len(set(wanted.tolist()))} in fp32); {len(top)} of the top 10; alone "
            f"{abs(alone - found[:16]).max():.1e} apart; {'the same again' if same else 'varies'}",
            ok=apart < most and unpadded == is_unpadded(one.model),
        )


@contextmanager
def little_memory(device: str, tokens: int) -> Iterator[None]:
    """Leave a GPU memory for about so many tokens of the tiniest model; simulate it on a CPU."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        used = torch.cuda.memory_allocated(device)
        share = min(1.0, (used + tokens * 40_000) / total)
        torch.cuda.set_per_process_memory_fraction(share, torch.device(device))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, torch.device(device))
        return
    inputs = torch_runtime.inputs

    def bounded(model: Any, texts: Any, *, flat: bool) -> Any:
        if sum(len(text.ids) for text in texts) > tokens:
            raise torch.OutOfMemoryError("out of memory")
        return inputs(model, texts, flat=flat)

    torch_runtime.inputs = bounded
    try:
        yield
    finally:
        torch_runtime.inputs = inputs


def check_memory(folder: Path, device: str, pairs: Pairs, check: Checks) -> None:
    """Score with too little memory for a batch, and then for a text."""
    one = loaded(folder, device, "bf16", unpadded=device.startswith("cuda"))
    wanted, tries = one.score(pairs)[0], {True: 0, False: 0}
    fits = torch_runtime._fits

    def counted(*given: Any) -> bool:
        ok = fits(*given)
        tries[ok] += 1
        return ok

    torch_runtime._fits = counted
    try:
        with little_memory(device, 1500):
            most = MOST["bf16"] * max(1.0, float(np.ptp(wanted)))
            for round in (1, 2):
                tries.update({True: 0, False: 0})
                apart = float(abs(one.score(pairs)[0] - wanted).max())
                check(
                    f"out of memory, call {round}",
                    f"{tries[False]} failed and {tries[True]} good batches, {apart:.1e} apart",
                    ok=apart < most and (round == 1 or tries[False] <= 1),
                )
        with little_memory(device, 1):
            one.score(pairs)
            check("out of memory, a single text", "fits: too much memory was left")
    except EttinError as error:
        check("out of memory, a single text", error.problem, ok=error.code == "out-of-memory")
    finally:
        torch_runtime._fits = fits


def measure_speed(folder: Path, device: str, pairs: Pairs, shape: str, check: Checks) -> None:
    """Print pairs per second of every route, and microseconds a pair of its parts."""
    for name, dtype, unpadded in routes(device):
        one = loaded(folder, device, dtype, unpadded=unpadded)
        one.score(pairs[: len(pairs) // 4])
        parts = dict.fromkeys(("tokenize", "inputs", "forward"), 0.0)

        def timed(part: str, work: Callable[[], Any], parts: dict[str, float] = parts) -> Any:
            began = time.perf_counter()
            found = work()
            synchronise(device)
            parts[part] += (time.perf_counter() - began) / len(pairs) * 1e6
            return found

        texts, _ = timed("tokenize", lambda one=one: one.tokens.of_pairs(pairs))
        lengths = [len(text.ids) for text in texts]
        with torch.inference_mode():
            for batch in batches(lengths, one.placement.batch_tokens, None):
                own = [texts[at] for at in batch]
                made = timed(
                    "inputs", lambda one=one, own=own: one.placement.features(one.model, own)
                )
                timed("forward", lambda one=one, made=made: one.model(made))
        began = time.perf_counter()
        one.score(pairs)
        rate = len(pairs) / (time.perf_counter() - began)
        known = (
            [
                f"{speed.pairs_per_s:,.0f} on {speed.device} with {speed.attention}"
                for speed in ETTIN_MODELS[shape].speeds
                if speed.attention
                and dtype in speed.dtype.replace("float32", "fp32").replace("bfloat", "bf")
            ]
            if shape in ETTIN_MODELS
            else []
        )
        shares = ", ".join(f"{part} {microseconds:.0f}" for part, microseconds in parts.items())
        check(
            f"speed, {name}",
            f"{rate:,.0f} pairs/s of {np.mean(lengths):.0f} tokens; microseconds a pair: {shares}"
            + (f"; published: {', '.join(known)}" if known else ""),
        )
    measure_reference(folder, device, pairs, check)


def measure_reference(folder: Path, device: str, pairs: Pairs, check: Checks) -> None:
    """Print pairs per second of sentence-transformers, with texts as long as ours."""
    from sentence_transformers import CrossEncoder

    half = device.startswith("cuda")
    dtype = torch.bfloat16 if half else torch.float32
    model = CrossEncoder(
        str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
    )
    model.max_seq_length = 512
    model.predict(pairs[: len(pairs) // 4], batch_size=256, show_progress_bar=False)
    began = time.perf_counter()
    model.predict(pairs, batch_size=256, show_progress_bar=False)
    rate = len(pairs) / (time.perf_counter() - began)
    check("speed, sentence-transformers", f"{rate:,.0f} pairs/s in {'bf16' if half else 'fp32'}")


def check_training(folder: Path, device: str, pairs: Pairs, work: Path, check: Checks) -> None:
    """Train some steps with every attention, and compare the losses."""
    data = work / "train.jsonl"
    rows = [{"query": q, "text": t, "score": at % 7} for at, (q, t) in enumerate(pairs)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    losses: dict[str, list[float]] = {}
    for name, dtype, unpadded in routes(device):
        out = work / f"trained {name}"
        with attention(unpadded=unpadded), read_examples([data], None, Silence()) as examples:
            recipe = Recipe(steps=8, batch_size=min(256, len(pairs) // 2), learning_rate=1e-4)
            request = TrainRequest(
                ModelFiles("base", folder), examples, recipe, EngineSettings(device, dtype)
            )
            began = time.perf_counter()
            train(request, ModelFolder(out, resume=False), Silence())
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [line["loss"] for line in lines if "loss" in line]
        first = next(iter(losses.values()))
        apart = max(abs(a / b - 1) for a, b in zip(losses[name], first, strict=True))
        took = time.perf_counter() - began
        check(
            f"training, {name}",
            f"8 steps in {took:.1f} s, losses {apart:.1%} apart",
            ok=apart < 0.05,
        )


def check_vectors(device: str, work: Path, check: Checks) -> None:
    """Compare the vectors of an embedder and of a multi-vector model with those of the CPU."""
    from tests.models import embedder
    from tests.multi_vectors import multi_vector

    texts = [" ".join(words()[at : at + 5 + at % 40]) for at in range(0, 2000, 20)]
    for kind, make in (("embedder", embedder), ("multi-vector", multi_vector)):
        (work / kind).mkdir()
        files = ModelFiles(kind, make(work / kind))
        wanted = vectors(files, EngineSettings("cpu", "fp32"), texts)
        for name, dtype, unpadded in routes(device):
            with attention(unpadded=unpadded):
                found = vectors(files, EngineSettings(device, dtype, engine="torch"), texts)
            least = float((found * wanted).sum(axis=1).min())
            limit = 1 - 1e-4 if dtype == "fp32" else 0.999
            check(f"{kind}, {name}", f"least cosine {least:.6f}", ok=least > limit)


def vectors(files: ModelFiles, settings: EngineSettings, texts: list[str]) -> Any:
    """Return the vectors of texts."""
    return load_embedder(files, settings, Silence()).embed_documents(texts)


def check_devices(folder: Path, device: str, pairs: Pairs, check: Checks) -> None:
    """Compare several devices with one; two processes share a single one."""
    count = torch.cuda.device_count() if device.startswith("cuda") else 0
    devices = tuple(f"cuda:{at}" for at in range(count)) if count > 1 else (device, device)
    settings = EngineSettings(device, "fp32", max_length=512, engine="torch", devices=devices)
    wanted = loaded(folder, devices[0], "fp32", unpadded=False).score(pairs)[0]
    shared = SharedCrossEncoder(folder, settings, Shown())
    shared.score(pairs)
    began = time.perf_counter()
    found = shared.score(pairs)[0]
    rate = len(pairs) / (time.perf_counter() - began)
    apart = float(abs(found - wanted).max())
    check(
        f"devices {' '.join(devices)}",
        f"{rate:,.0f} pairs/s in fp32, {apart:.1e} apart from one",
        ok=apart == 0 if count else apart < MOST["fp32"],
    )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="17m")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pairs", type=int, default=8192)
    asked = parser.parse_args()
    check, known = Checks(), words()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = asked.model or make_model(work / "model", known, **SHAPES[asked.shape])
        pairs = make_pairs(known, asked.pairs, 110)
        some = [*pairs[: max(16, asked.pairs // 8)], ("ferry", ""), ("", "pier")]
        check_placement(asked.device, check)
        check_agreement(folder, asked.device, some, check)
        check_memory(folder, asked.device, pairs[: max(64, asked.pairs // 2)], check)
        measure_speed(folder, asked.device, pairs, asked.shape, check)
        check_training(folder, asked.device, some, work, check)
        check_vectors(asked.device, work, check)
        check_devices(folder, asked.device, pairs, check)
    print(f"{check.failed} checks failed" if check.failed else "every check passed")
    sys.exit(bool(check.failed))


if __name__ == "__main__":
    main()
