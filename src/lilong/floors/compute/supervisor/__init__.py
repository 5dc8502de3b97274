"""One attempt's guardian: a small program of its own, so that a job outlives the server that asked for it.

`python -m lilong.floors.compute.supervisor RUN_DIR [--rank N]` starts the program, keeps its log, holds its limits, ends its whole
tree, and leaves word. Standard library and light ground modules only. The run folder:

    start.json     the order; written by the house
    lock           held (flock) from before the supervisor exists until it is gone: "is it running?" has one certain answer
    running.json   made once and for all before the program starts, on the disk: {supervisor: [pid, start time]}; once it has started
                   also {child: [pid, start time], sandbox, groups}: what is there to be cleared up if the supervisor is killed
    usage.json     what it has used so far; now and then
    ready.json     written once a service has answered its probe
    exit.json      written when the whole tree is gone, on the disk
    cancel         laid down by the house; sticks
    log            both outputs of the program; of a gang each line begins with [rank]
    log.<place>    its last pieces, where there is more than half of what is kept (see log.py)
    tasks/N        where an engine starts a supervisor for each rank of a gang: the same files for rank N, all but start.json and cancel
    failed         laid down by the first rank that failed: the others end too
"""
