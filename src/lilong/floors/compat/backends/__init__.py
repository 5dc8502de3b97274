"""Adapters, one file per outside engine. Each is run by `worker` in a process of its own.

`BUILT_IN` names the adapters that ship; a package may add its own (a vendor's chip, say) with an entry point of the group
`lilong.compat.device` whose name is the stack and whose value is `module:factory`; the factory takes the stack's full name.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from lilong.floors.compat.contract import StackName, UnknownStack

HERE = "lilong.floors.compat.backends"
GROUP = "lilong.compat.device"

BUILT_IN: dict[str, str] = {
    "torch-fp32": f"{HERE}.torch_cpu:open_device",
    "torch-bf16": f"{HERE}.torch_cpu:open_device",
    "llama.cpp": f"{HERE}.llama_cpp:open_device",
    "onnxruntime": f"{HERE}.onnxruntime_cpu:open_device",
}

SELF_TEST: dict[str, str] = {
    f"faulty-{fault}": f"{HERE}.faulty:open_device" for fault in ("shift", "layer", "scale", "nan", "tokenizer", "refuse", "crash", "hang", "oom")
}
"""Devices that are broken on purpose. A suite that does not catch each of them is itself broken."""


def adapter(stack: StackName) -> str:
    """`module:factory` of the adapter for a stack; what follows a colon in the stack's name is the adapter's own business."""
    family = stack.partition(":")[0]
    known = {**BUILT_IN, **SELF_TEST, **{point.name: point.value for point in entry_points(group=GROUP)}}
    if family not in known:
        raise UnknownStack(stack=stack, known=", ".join(sorted(known)))
    return known[family]
