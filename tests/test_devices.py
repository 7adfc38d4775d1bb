"""The device, its dtype and its attention are chosen by what torch can do there, and said truly."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder

from ettin_cli.commands.context import Context
from ettin_cli.console import Console
from ettin_cli.errors import ModelError
from ettin_cli.models.engines import devices, torch_attention, torch_runtime
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.onnx_export import write_cross_encoder
from ettin_cli.models.engines.registry import torch_free
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import Kernel, find_kernel, is_unpadded, unfit
from ettin_cli.models.engines.torch_devices import chosen_dtype, has_bf16, sharing_devices
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.records import Silence
from ettin_cli.runtime import hold_to_one_thread
from ettin_cli.training.student import training_placement
from tests.indexes import Notices
from tests.models import embedder, ettin
from tests.test_unpadded import varlen

CUDA = torch.device("cuda", 1)


class Machine:
    """A simulated machine: its drivers, and the torch that is installed."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.dev = patch, folder / "dev"
        self.dev.mkdir()
        self.torch = folder / "torch"
        self.torch.mkdir()
        patch.setattr("sys.platform", "linux")
        for names in ("NVIDIA_DRIVERS", "AMD_DRIVERS"):
            own = [path.replace("/dev", str(self.dev)) for path in getattr(devices, names)]
            patch.setattr(devices, names, own)
        for name in devices.AMD_HIDING:
            patch.delenv(name, raising=False)
        spec = SimpleNamespace(submodule_search_locations=[str(self.torch)])
        patch.setattr(devices, "find_spec", lambda name: spec)
        self.asked: list[int] = []
        self.build("'13.0'")
        self.answers(None)

    def driver(self, *names: str) -> None:
        for name in names:
            (self.dev / name).touch()

    def build(self, cuda: str, hip: str = "None") -> None:
        text = f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = {hip}\n"
        (self.torch / "version.py").write_text(text)

    def answers(self, problem: str | None) -> None:
        """Have torch say why it cannot compute on a GPU."""

        def asked() -> str | None:
            self.asked.append(0)
            return problem

        self.patch.setattr(devices, "_problem_of_first", asked)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"), hidden=32, layers=2, heads=2)


# The device


@pytest.mark.parametrize(
    "nodes", [("nvidiactl", "nvidia3", "nvidia-uvm"), ("nvidia7",), ("nvidia0",), ("dxg",)]
)
def test_a_gpu_of_any_number_in_a_container_is_seen(
    machine: Machine, nodes: tuple[str, ...]
) -> None:
    assert devices.is_cpu("auto")
    machine.driver(*nodes)
    assert not devices.is_cpu("auto")
    assert machine.asked


@pytest.mark.parametrize(
    ("nodes", "cuda", "hip", "reason", "notable"),
    [
        ((), "'13.0'", "None", "there is no driver of a GPU", False),
        (("nvidiactl",), "None", "None", "this torch is built without CUDA", True),
        (("kfd",), "None", "None", "this torch is built without ROCm", False),
        (("kfd",), "'13.0'", "None", "this torch is built without ROCm", False),
    ],
)
def test_a_gpu_that_torch_is_not_built_for_leaves_the_cpu_its_fast_route(
    machine: Machine, nodes: tuple[str, ...], cuda: str, hip: str, reason: str, notable: bool
) -> None:
    machine.driver(*nodes)
    machine.build(cuda, hip)
    assert devices.no_gpu() == devices.NoGpu(reason, notable)
    # torch takes long to import, and was not.
    assert not machine.asked


def test_an_amd_gpu_is_left_to_a_torch_that_is_built_for_it(machine: Machine) -> None:
    machine.driver("kfd")
    machine.build("None", "'7.1'")
    assert devices.no_gpu() is None


@pytest.mark.parametrize("value", ["", "-1"])
def test_hidden_gpus_are_not_asked_for(machine: Machine, value: str) -> None:
    machine.driver("nvidiactl")
    machine.patch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.no_gpu() == devices.NoGpu("CUDA_VISIBLE_DEVICES hides every GPU")
    machine.patch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert devices.no_gpu() is None


def test_an_unusable_gpu_costs_no_onnx_route_and_the_reason_is_said(
    machine: Machine, reranker: Path
) -> None:
    machine.driver("nvidiactl")
    machine.answers("The NVIDIA driver on your system is too old")
    told = Notices()
    assert torch_free(reranker, EngineSettings("auto"), told, write_cross_encoder) is not None
    assert told.said == ["using the CPU: The NVIDIA driver on your system is too old"]


def test_only_gpus_like_the_first_share_work_and_only_when_a_model_is_loaded(
    machine: Machine,
) -> None:
    machine.driver("nvidiactl")
    kinds = [("A100", (8, 0)), ("T4", (7, 5)), ("A100", (8, 0))]
    machine.patch.setattr(torch.cuda, "device_count", lambda: len(kinds))
    machine.patch.setattr(torch.cuda, "get_device_name", lambda number: kinds[number][0])
    machine.patch.setattr(torch.cuda, "get_device_capability", lambda number: kinds[number][1])
    context = Context(Console(), EngineSettings(), offline=True).on_every_gpu(here=True)
    assert not machine.asked
    notices = Notices()
    assert sharing_devices(context.settings, notices) == ("cuda:0", "cuda:2")
    assert machine.asked
    left_out = "using only GPUs like cuda:0 (A100, 8.0), so not cuda:1 (T4, 7.5)"
    assert notices.said == [left_out]
    assert not sharing_devices(replace(context.settings, device="cuda:1"), notices)
    assert not sharing_devices(EngineSettings("cuda"), notices)
    del kinds[2]
    assert not sharing_devices(context.settings, notices)


def test_a_variable_for_other_gpus_hides_none(machine: Machine) -> None:
    machine.driver("nvidiactl")
    machine.patch.setenv("HIP_VISIBLE_DEVICES", "")
    assert devices.no_gpu() is None
    machine.patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.no_gpu() == devices.NoGpu("CUDA_VISIBLE_DEVICES hides every GPU")


def test_a_model_that_does_not_fit_is_told_so(
    reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ModelError, match="does not fit in the free memory of cpu") as caught:
        Placement(EngineSettings("cpu"), Silence()).load(full, reranker)
    assert caught.value.code == "out-of-memory"


def test_windows_has_its_driver_elsewhere(machine: Machine, tmp_path: Path) -> None:
    machine.patch.setattr("sys.platform", "win32")
    machine.patch.setenv("SYSTEMROOT", str(tmp_path))
    machine.build("None")
    assert devices.no_gpu() == devices.NoGpu("there is no driver of a GPU")
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert devices.no_gpu() == devices.NoGpu("this torch is built without CUDA", notable=True)


def test_the_reason_is_not_the_build_where_torch_has_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found 11040).\nUpdate it.")

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert devices.gpu_problem(0) == "this torch is built without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    assert devices.gpu_problem(0) == "The NVIDIA driver on your system is too old (found 11040)."
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.gpu_problem(0) == "CUDA_VISIBLE_DEVICES hides every GPU"


def test_a_mac_computes_on_the_cpu_beside_one_openmp(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    faiss = SimpleNamespace(omp_set_num_threads=threads.append)
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK", raising=False)
    hold_to_one_thread("faiss")
    assert not threads
    monkeypatch.setattr("sys.platform", "darwin")
    assert devices.is_cpu("auto")
    assert not devices.is_cpu("mps")
    devices.prepare_for_torch()
    assert os.environ["KMP_DUPLICATE_LIB_OK"] == "TRUE"
    hold_to_one_thread("faiss")
    assert threads == [1]


def test_the_allocator_grows_its_segments_unless_it_is_set(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in devices.ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    with devices.growing_segments():
        assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    assert "PYTORCH_CUDA_ALLOC_CONF" not in os.environ
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    with devices.growing_segments():
        assert "PYTORCH_CUDA_ALLOC_CONF" not in os.environ


# The dtype


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Simulate GPUs of which only number 1 has no bf16, and return those that were asked."""
    chosen: list[Any] = []

    class On:
        def __init__(self, device: torch.device) -> None:
            chosen.append(device.index)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or chosen[-1] != 1

    monkeypatch.setattr(torch.cuda, "device", On)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    return chosen


def test_bf16_is_used_only_where_the_named_gpu_has_it(native: list[Any]) -> None:
    assert has_bf16(torch.device("cuda", 0))
    assert not has_bf16(CUDA)
    assert chosen_dtype("auto", torch.device("cuda", 0), Silence()) is torch.bfloat16
    assert chosen_dtype("auto", CUDA, Silence()) is torch.float16
    assert chosen_dtype("bf16", CUDA, Silence()) is torch.bfloat16
    assert native == [0, 1, 0, 1]


def test_training_is_in_fp32_on_a_gpu_without_bf16(
    native: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_runtime, "chosen_device", lambda wanted: CUDA)
    assert [
        training_placement(EngineSettings("cuda:1", dtype), Silence())[1]
        for dtype in ("auto", "fast", "fp32", "bf16")
    ] == [False, False, False, True]


@pytest.mark.parametrize(("apart", "dtype"), [(0.0, torch.float16), (0.1, torch.float32)])
def test_fp16_is_kept_only_if_a_check_finds_it_accurate(
    reranker: Path, monkeypatch: pytest.MonkeyPatch, apart: float, dtype: torch.dtype
) -> None:
    told = Notices()
    placement = Placement(EngineSettings("cpu"), told)
    placement.dtype = torch.float16
    monkeypatch.setattr(torch_runtime, "_apart", lambda found, wanted: apart)
    model = placement.load(CrossEncoder, reranker)
    assert model[0].model.dtype == placement.dtype == dtype
    assert placement.backend == f"torch cpu {str(dtype).removeprefix('torch.')}"
    wrong = "using fp32, since this GPU has no bf16 and fp16 gives other results"
    assert told.said == [wrong] * (dtype is torch.float32)
    whole = Placement(EngineSettings("cpu"), told).load(CrossEncoder, reranker)
    if dtype is torch.float32:
        for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_vectors_that_are_not_finite_are_infinitely_apart() -> None:
    wanted = torch.ones(3)
    assert torch_runtime._apart(wanted * 1.01, wanted) == pytest.approx(0.01, abs=1e-6)
    assert torch_runtime._apart(wanted / 0, wanted) == float("inf")
    assert torch_runtime._apart(wanted * torch.nan, wanted) == float("inf")


# Attention


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Simulate a GPU of a given capability."""
    made = SimpleNamespace(capability=(8, 0), asked=[])

    def capability(device: torch.device) -> tuple[int, int]:
        made.asked.append(device)
        major, minor = made.capability
        return major, minor

    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    return made


def test_flash_attention_is_used_from_compute_capability_8(gpu: SimpleNamespace) -> None:
    pytest.importorskip("torch.nn.attention.varlen")
    kernel = find_kernel(CUDA)
    assert isinstance(kernel, Kernel)
    assert gpu.asked == [CUDA]
    gpu.capability = (7, 5)
    reason = "Flash Attention needs compute capability 8.0, and this GPU has 7.5"
    assert find_kernel(CUDA) == reason


def test_it_is_said_why_neither_kernel_is_there(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that fetches kernels from the hub is installed, and is not touched."""
    monkeypatch.setitem(sys.modules, "kernels", Untouched("kernels"))
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    version = torch.__version__
    assert find_kernel(CUDA) == (
        f"torch {version} has no attention for texts of different lengths"
        " and flash_attn is not installed"
    )
    without = SimpleNamespace(varlen_attn=lambda query, key, scale: None)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", without)
    reason = f"the varlen_attn of torch {version} takes no window_size"
    assert torch_attention.torch_kernel() == reason


class Untouched:
    """A module that may be found, but not used."""

    __spec__ = None

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{self.__name__}.{name} is used")


def test_an_installed_flash_attn_is_used_where_torch_has_no_kernel(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: dict[str, Any] = {}

    def function(*given: Any, softmax_scale: float, window_size: tuple[int, int]) -> str:
        got.update(given=given, scale=softmax_scale, window=window_size)
        return "found"

    module = SimpleNamespace(
        __version__="2.8.3", flash_attn_varlen_func=function, __spec__=SimpleNamespace()
    )
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    kernel = find_kernel(CUDA)
    assert isinstance(kernel, Kernel)
    assert kernel.title == "flash_attn 2.8.3"
    assert kernel.run("q", "k", "v", "begins", 9, 0.5, 64) == "found"
    assert got == {
        "given": ("q", "k", "v", "begins", "begins", 9, 9),
        "scale": 0.5,
        "window": (64, 64),
    }


@pytest.fixture
def placement(monkeypatch: pytest.MonkeyPatch) -> Placement:
    made = Placement(EngineSettings("cpu", "bf16"), Notices())
    kernel = Kernel("ettin_varlen", "the stand-in", varlen)
    monkeypatch.setattr(torch_runtime, "find_kernel", lambda device: kernel)
    return made


def said(placement: Placement) -> list[str]:
    assert isinstance(placement.reporter, Notices)
    return placement.reporter.said


def test_a_kernel_that_fails_on_this_gpu_is_said_and_done_without(
    placement: Placement, reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_unpadded(placement.load(CrossEncoder, reranker))
    assert (said(placement), placement.padded) == ([], False)

    def fails(*_: object) -> None:
        raise RuntimeError("no image for this GPU\nmore")

    kernel = Kernel("ettin_varlen", "the stand-in", fails)  # type: ignore[arg-type]
    monkeypatch.setattr(torch_runtime, "find_kernel", lambda device: kernel)
    assert not is_unpadded(placement.load(CrossEncoder, reranker))
    wrong = kernel._replace(run=lambda q, *_: q / 0)
    monkeypatch.setattr(torch_runtime, "find_kernel", lambda device: wrong)
    assert not is_unpadded(placement.load(CrossEncoder, reranker))
    assert said(placement) == [
        "using SDPA with padding: the stand-in failed: no image for this GPU",
        "using SDPA with padding: the stand-in gives other results",
    ]
    assert placement.padded


def test_nothing_is_fetched_to_load_a_model(
    placement: Placement, reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers would fetch a kernel for another attention that is asked for at loading."""
    asked: list[dict[str, Any]] = []

    def loaded(folder: str, **given: Any) -> Any:
        asked.append(given)
        return CrossEncoder(folder, **given)

    def connect(*_: object) -> None:
        raise AssertionError("the network is used")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    placement.load(loaded, reranker)
    (given,) = asked
    assert given["local_files_only"]
    assert given["model_kwargs"]["attn_implementation"] == "sdpa"


def test_fp32_is_left_to_sdpa(reranker: Path, placement: Placement) -> None:
    placement.dtype = torch.float32
    assert not is_unpadded(placement.load(CrossEncoder, reranker))
    assert is_unpadded(placement.load(CrossEncoder, reranker, autocast=True))


def test_a_damaged_model_is_loaded_once_and_attention_is_not_blamed(
    placement: Placement, tmp_path: Path
) -> None:
    loads: list[str] = []

    def damaged(folder: str, **_: Any) -> None:
        loads.append(folder)
        raise OSError("the header is too large")

    with pytest.raises(ModelError, match="cannot load the model in .*: the header is too large"):
        placement.load(damaged, tmp_path)
    assert loads == [str(tmp_path)]
    assert said(placement) == []


def test_what_reads_padding_keeps_it(placement: Placement, reranker: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    model = placement.load(CrossEncoder, reranker)
    assert unfit(model, training=True) is None
    bert = placement.load(SentenceTransformer, embedder(tmp_path / "bert"))
    assert unfit(bert, training=False) is None
    dropout = "it is trained with dropout of attention, which the kernels lack"
    assert unfit(bert, training=True) == dropout
    routed = SentenceTransformer(modules=[Router.for_query_document([bert[0]], [bert[0]]), bert[1]])
    assert unfit(routed, training=False) == "its first module is a Router"
    assert not is_unpadded(routed)
    model[0].transformer_task = "sequence-classification"
    assert unfit(model, training=False) == "its own head reads padded batches"


def test_a_version_of_the_library_without_the_offset_of_positions_can_flatten(
    reranker: Path, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions before 6.0 have neither the attribute nor the method that sets it."""
    from sentence_transformers.base.modules import Transformer

    monkeypatch.delattr(Transformer, "_infer_flatten_position_offset")
    model = placement.load(CrossEncoder, reranker)
    tokens = [TokenIds([1, 5, 2], []), TokenIds([1, 2], [])]
    features = placement.features(model, tokens)
    assert features["position_ids"].tolist() == [[0, 1, 2, 0, 1]]


def test_the_kernel_leaves_no_trace_in_a_saved_model(
    reranker: Path, placement: Placement, tmp_path: Path
) -> None:
    placement.load(CrossEncoder, reranker).save_pretrained(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").glob("*.json"):
        assert "varlen" not in json.dumps(json.loads(path.read_text()))
