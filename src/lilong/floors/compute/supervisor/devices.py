"""Which environment variables let a program see its devices, and only those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "nvidia": ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    "amd": ("ROCR_VISIBLE_DEVICES",),
    "intel": ("ZE_AFFINITY_MASK",),
    "huawei": ("ASCEND_RT_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"),
    "hygon": ("HIP_VISIBLE_DEVICES",),
    "cambricon": ("MLU_VISIBLE_DEVICES",),
    "moorethreads": ("MUSA_VISIBLE_DEVICES", "MTHREADS_VISIBLE_DEVICES"),
    "iluvatar": ("CUDA_VISIBLE_DEVICES",),
    "metax": ("MACA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "kunlunxin": ("XPU_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "enflame": ("TOPS_VISIBLE_DEVICES",),
    "biren": ("BR_VISIBLE_DEVICES",),
}

_PREFIXES = (
    ("ascend", "huawei"), ("910", "huawei"), ("310", "huawei"), ("mi", "amd"), ("dcu", "hygon"), ("k100", "hygon"), ("mlu", "cambricon"),
    ("mtt", "moorethreads"), ("bi-", "iluvatar"), ("c500", "metax"), ("c550", "metax"), ("p800", "kunlunxin"), ("r300", "kunlunxin"),
    ("gaudi", "intel"), ("br1", "biren"),
)  # fmt: skip


def vendor_of(accelerator: str, vendors: Mapping[str, str]) -> str:
    """As the settings say; else by the class's name, and Nvidia where that tells nothing."""
    known = vendors.get(accelerator)
    if known:
        return known.lower().replace(" ", "").replace("_", "")
    return next((vendor for prefix, vendor in _PREFIXES if accelerator.lower().startswith(prefix)), "nvidia")


def visible(accelerator: str, vendors: Mapping[str, str], numbers: Sequence[int]) -> dict[str, str]:
    """The vendor's variables for these devices of a node; with none, the devices are hidden."""
    told = ",".join(map(str, numbers))
    return dict.fromkeys(VARIABLES.get(vendor_of(accelerator, vendors), ()), told)


def device_files(numbers: Sequence[int], vendor: str) -> tuple[str, ...]:
    """Files under /dev that a program needs for these devices; those that are not there are left out by the sandbox."""
    if vendor == "nvidia":
        return (*(f"/dev/nvidia{number}" for number in numbers), "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
    if vendor == "huawei":
        return (*(f"/dev/davinci{number}" for number in numbers), "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
    if vendor in ("amd", "hygon"):
        return ("/dev/kfd", *(f"/dev/dri/renderD{128 + number}" for number in numbers))
    return ()
