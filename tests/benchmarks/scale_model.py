"""How fast a cluster would be: a closed queueing network, fed with measured seconds.

Chunks go round: a processor looks at one (decoding, detection, crops, and on machines without a GPU the network too),
a GPU encodes its crops, a processor does its share of putting the video together, and the driver gives out the next.
There are always as many chunks under way as the driver allows. Mean value analysis (Reiser and Lavenberg, 1980) gives
the throughput; a station of several servers is taken for a single fast one and a delay (Seidmann et al., 1987).

What the model does not know: disks and networks, videos that are shorter than a chunk, and the end of a batch, when
there is no longer work for all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Processor seconds per frame by stage, and of the driver per chunk; frames in a chunk."""

    decode: float
    detect: float
    crop: float
    encode: float
    finish: float
    driver: float
    chunk: int

    @property
    def looking(self) -> float:
        """Of a processor, without the network."""
        return self.decode + self.detect + self.crop


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
    work = costs.looking + costs.finish + (0.0 if machines.gpus else costs.encode)
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


def on_one_machine(costs: Costs, workers: int, cores: int) -> float:
    """Frames per second of the looking alone, with `workers` processes on a machine of so many cores.

    Within a process decoding runs beside detection, and the network in a process of its own: with cores to spare the
    slowest of these decides, without them all share the cores.
    """
    ways = [workers / (costs.detect + costs.crop), workers / costs.decode, cores / (costs.looking + costs.encode)]
    if costs.encode:
        ways.append(workers / costs.encode)
    return min(ways)


def seconds(costs: Costs, frames: int, workers: int, cores: int) -> float:
    """For one long video: looking in parallel, then putting it together on all processors that were asked for."""
    return frames / on_one_machine(costs, workers, cores) + frames * costs.finish / min(workers, cores)
