"""What every device layer does alike: the stand-in of host memory here, the real ones where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from host_device import HostDevice

from mvt_deploy.backends.tensorrt.device import Device
from mvt_deploy.errors import BackendError


def _cuda_python() -> Device:
    pytest.importorskip("cuda.bindings.runtime")
    from mvt_deploy.backends.tensorrt.device.cuda_python import CudaPython

    return CudaPython()


def _pycuda() -> Device:
    pytest.importorskip("pycuda", exc_type=ImportError)
    from mvt_deploy.backends.tensorrt.device.py_cuda import PyCuda

    return PyCuda()


@pytest.fixture(params=[HostDevice, _cuda_python, _pycuda], ids=["host", "cuda-python", "pycuda"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    make: Callable[[], Device] = request.param
    try:
        opened = make()
    except BackendError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()
    opened.close()


def test_facts(device: Device) -> None:
    assert device.gpu.name
    major, minor = device.gpu.compute_capability.split(".")
    assert int(major) >= 5
    assert int(minor) >= 0
    assert device.gpu.memory > 0


def test_a_round_trip_in_the_order_of_the_stream(device: Device) -> None:
    stream = device.stream()
    sent, received = device.pinned((3, 5), np.float32), device.pinned((3, 5), np.float32)
    sent[:] = np.arange(15).reshape(3, 5)
    first, second = device.allocate(sent.nbytes), device.allocate(sent.nbytes)
    device.upload(first, sent, stream)
    device.copy(second, first, sent.nbytes, stream)
    device.download(received, second, stream)
    device.synchronize(stream)
    assert np.array_equal(received, sent)
    device.free(first)
    device.free(first)
    device.unpin(sent)
    device.release_stream(stream)


def test_streams_do_not_wait_for_each_other(device: Device) -> None:
    streams = [device.stream() for _ in range(2)]
    assert len(set(streams)) == 2
    arrays = [device.pinned((1000,), np.uint8) for _ in streams]
    memory = [device.allocate(1000) for _ in streams]
    for value, (stream, array, pointer) in enumerate(zip(streams, arrays, memory, strict=True), start=1):
        array[:] = value
        device.upload(pointer, array, stream)
    for stream in reversed(streams):
        device.synchronize(stream)
    received = device.pinned((1000,), np.uint8)
    device.download(received, memory[1], streams[0])
    device.synchronize(streams[0])
    assert (received == 2).all()


def test_a_graph_replays_from_the_same_addresses(device: Device) -> None:
    stream = device.stream()
    sent, received = device.pinned((8,), np.int32), device.pinned((8,), np.int32)
    pointer = device.allocate(sent.nbytes)

    def work() -> None:
        device.upload(pointer, sent, stream)
        device.download(received, pointer, stream)

    graph = device.capture(stream, work)
    if graph is None:
        pytest.skip("this device layer has no CUDA graphs")
    sent[:], received[:] = 7, 0
    device.synchronize(stream)
    assert (received == 0).all()  # recording runs nothing
    for value in (7, 8):
        sent[:] = value
        graph.launch(stream)
        device.synchronize(stream)
        assert (received == value).all()
    graph.close()
    graph.close()


def test_nonsense_is_a_user_error(device: Device) -> None:
    stream = device.stream()
    array = device.pinned((16,), np.uint8)
    with pytest.raises(BackendError, match="the GPU refused"):
        device.upload(1, array, stream)
