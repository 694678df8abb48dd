"""models.device: a GPU is used only where a Mamba-2 block runs on it, and left for the CPU where it fails later."""

import pytest
import torch

from ariel_lib.errors import SpectraMindError
from ariel_lib.models import device
from ariel_lib.models.device import Device, DeviceError, choose_device, find_fault

SICK = "CUDA error: no kernel image is available for execution on the device"


def fails(*_):
    raise RuntimeError(f"{SICK}\nCUDA kernel errors might be asynchronously reported")


class Sick(torch.autograd.Function):
    """A device on which the forward pass runs and the backward pass fails."""

    @staticmethod
    def forward(context, u):
        return u.clone()

    @staticmethod
    def backward(context, gradient):
        fails()


FAULTS = {
    "at once": lambda patch: patch.setattr(torch.nn.Module, "to", fails),
    "forward": lambda patch: patch.setattr(device.Mamba2, "forward", fails),
    "backward": lambda patch: patch.setattr(device.Mamba2, "forward", lambda block, u: Sick.apply(block.in_proj(u))),
}


def test_a_device_that_computes_has_no_fault_and_the_random_state_stays():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        assert find_fault("cpu") is None
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_device_that_fails_has_its_fault_in_one_line(monkeypatch, fault):
    FAULTS[fault](monkeypatch)
    assert find_fault("cpu") == f"cpu fails: RuntimeError: {SICK}"


def test_a_device_that_computes_nonsense_is_faulty(monkeypatch):
    forward = device.Mamba2.forward
    monkeypatch.setattr(device.Mamba2, "forward", lambda block, u: forward(block, u) * float("nan"))
    assert find_fault("cpu") == "cpu computes values that are not finite"


def chosen(wanted):
    lines = []
    return choose_device(wanted, lines.append), lines


def test_without_a_gpu_the_cpu_is_chosen_and_cuda_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen("auto") == ("cpu", ["device: CPU: PyTorch finds no GPU"]) and chosen("cpu") == ("cpu", ["device: CPU, as asked for"])
    with pytest.raises(DeviceError, match=r"found none: PyTorch finds no GPU\. Ask for auto or cpu"):
        chosen("cuda")
    with pytest.raises(SpectraMindError, match="expected one of auto, cpu, cuda, found 'gpu'"):
        chosen("gpu")


def test_a_gpu_is_chosen_where_it_has_no_fault_and_one_line_names_it_and_its_scan(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(device, "load_kernel", lambda name: None)
    for fault, wanted in ((None, "cuda"), ("cuda fails: RuntimeError: out of memory", "cpu")):
        monkeypatch.setattr(device, "find_fault", lambda name, fault=fault: fault)
        name, (line,) = chosen("auto")
        usual = "device: Tesla T4, with the chunked scan, which is slow"
        assert name == wanted and line.startswith(f"device: CPU: {fault}" if fault else usual)
        assert "spectramind[cuda]" in line or fault
    monkeypatch.setattr(device, "find_fault", lambda name: None)
    monkeypatch.setattr(device, "load_kernel", lambda name: chosen)
    assert chosen("cuda") == ("cuda", ["device: Tesla T4, with mamba-ssm's scan"])


@pytest.mark.parametrize("fault", [None, "cuda fails"], ids=["once", "for good"])
def test_work_on_a_device_that_fails_is_done_on_the_cpu_and_a_sick_device_not_used_again(monkeypatch, fault):
    monkeypatch.setattr(device, "find_fault", lambda name: fault)
    found, lines, tried = Device("cuda"), [], []

    def work(name):
        tried.append(name)
        return fails() if name == "cuda" and len(tried) == 1 else name

    assert found.run(work, lines.append) == "cpu"
    assert lines == [f"cuda fails: RuntimeError: {SICK}; this goes on on the CPU"]
    assert found.run(work, lines.append) == ("cpu" if fault else "cuda") and len(lines) == 1


def test_an_error_of_the_work_itself_is_raised():
    with pytest.raises(RuntimeError, match="no kernel image"):
        Device("cpu").run(fails, print)
    with pytest.raises(KeyError):
        Device("cuda").run(lambda name: {}[name], print)
