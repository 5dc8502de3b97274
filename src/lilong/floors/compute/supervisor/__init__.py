"""One attempt's guardian: a small program of its own, so that a job outlives the server that asked for it.

`python -m lilong.floors.compute.supervisor RUN_DIR` starts the child, keeps its log, holds its limits, ends its whole tree, and
leaves word. Standard library and light ground modules only. The run folder:

    lock           held (flock) from before the supervisor exists until it is gone: "is it running?" has one certain answer
    start.json     the order; written by the site
    running.json   written before the child starts: {supervisor: [pid, start time], child: [pid, start time]}
    ready.json     written once a service has answered its probe
    exit.json      written when the whole tree is gone
    cancel         laid down by the site; sticks
    log            both outputs of the child
"""
