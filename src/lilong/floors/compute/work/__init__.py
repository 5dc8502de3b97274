"""Carrying the queue out: start what may start, look after what runs, settle what has ended."""

from lilong.floors.compute.work.dispatcher import Dispatcher, run_until_idle

__all__ = ["Dispatcher", "run_until_idle"]
