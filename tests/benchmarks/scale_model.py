"""How fast a cluster would be: a closed queueing network, fed with measured seconds.

Chunks go round: a processor looks at one (decoding, detection, crops, and on machines without a GPU the network too),
a GPU encodes its crops, a processor does its share of putting the video together, and the driver gives out the next.
There are always as many chunks under way as the driver allows. Mean value analysis (Reiser and Lavenberg, 1980) gives
the throughput; a station of several servers is taken for a single fast one and a delay (Seidmann et al., 1987).

What the model does not know: disks and networks, videos that are shorter than a chunk, E_d's look at a few crops of
each, and the end of a batch, when there is no longer work for all. `seconds` is about one video, where that counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Processor seconds, all of them measured while the other processors are busy too.

    Attributes:
        decode, detect, crop, encode: per frame of a chunk amid a video, with the frames before and after it that are
            looked at as well.
        hand: per frame, of handing crops to another process and taking codes from it.
        start: per chunk, of opening the video and the detector.
        serial, shared: per frame, of putting a video together: what one process does, and what all do in parts.
        detail: per video, of E_d's look at the best crops.
        driver: per chunk.
        chunk: frames in one.
    """

    decode: float
    detect: float
    crop: float
    encode: float
    start: float
    serial: float
    shared: float
    detail: float
    chunk: int
    hand: float = 0.0
    driver: float = 0.0

    @property
    def looking(self) -> float:
        """Of a processor per frame, without the network."""
        return self.decode + self.detect + self.crop + self.start / self.chunk

    @property
    def network(self) -> float:
        """Of a processor per frame, where the network is on processors; handing over in any case."""
        return self.encode + self.hand


@dataclass(frozen=True)
class Machines:
    """Of one kind, so many; processors each, GPUs each, seconds per frame of the network on one of these GPUs."""

    count: int
    processors: int
    gpus: int = 0
    gpu_encode: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """Frames per second, and which station is busiest, with the share of time it works."""

    rate: float
    bottleneck: str
    busy: float


@dataclass(frozen=True)
class _Station:
    name: str
    seconds: float  # per chunk, of one server
    servers: int


def predict(costs: Costs, machines: Machines, ahead: int = 2) -> Prediction:
    """The throughput in the middle of a large batch.

    Args:
        ahead: chunks under way per processor, as in `tracker.config.ClusterConfig`.
    """
    processors = machines.count * machines.processors
    work = costs.looking + costs.serial + costs.shared + (costs.hand if machines.gpus else costs.network)
    stations = [_Station("processors", costs.chunk * work, processors), _Station("driver", costs.driver, 1)]
    if machines.gpus and machines.gpu_encode:
        stations.append(_Station("GPUs", costs.chunk * machines.gpu_encode, machines.count * machines.gpus))
    chunks = throughput(stations, ahead * processors)
    busy = {s.name: chunks * s.seconds / s.servers for s in stations}
    bottleneck = max(busy, key=lambda name: busy[name])
    return Prediction(chunks * costs.chunk, bottleneck, busy[bottleneck])


def throughput(stations: list[_Station], customers: int) -> float:
    """Customers per second that pass a closed network of stations in a row."""
    fast = [s.seconds / s.servers for s in stations]
    delay = sum(s.seconds * (s.servers - 1) / s.servers for s in stations)
    queue = [0.0] * len(stations)
    rate = 0.0
    for n in range(1, customers + 1):
        stay = [seconds * (1 + waiting) for seconds, waiting in zip(fast, queue, strict=True)]
        rate = n / (delay + sum(stay))
        queue = [rate * seconds for seconds in stay]
    return rate


def seconds(costs: Costs, frames: int, workers: int, cores: int, agents: float) -> float:
    """For one video on one machine: looking at its chunks, then putting them together.

    Within a worker frames are found and cut one after another, beside the thread that decodes and the process with the
    network; all share the processors that Ray's own processes leave.

    Args:
        agents: processors that these keep busy.
    """
    chunks = math.ceil(frames / costs.chunk)
    mine = math.ceil(chunks / workers)  # of the worker that has most
    alone = min(mine * costs.chunk, frames) * (costs.detect + costs.crop) + mine * costs.start
    together = frames * (costs.looking + costs.network) / (cores - agents)
    closing = costs.serial + costs.shared / min(workers, cores)
    return max(alone, together) + chunks * costs.driver + frames * closing + costs.detail / min(workers, cores)
