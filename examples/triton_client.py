"""Track with the network on a Triton server, which runs what ``mvt-deploy package --triton`` wrote.

python examples/triton_client.py localhost:8001 video.mp4 120,80,60,140"""

import sys

import cv2
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

import mvt_deploy as mvt
from mvt_deploy.backends.base import Backend, SearchResult, TrackerSpec


class TritonBackend(Backend):
    name = "triton"
    open = None  # for mvt.load(), which does not know this backend

    def __init__(self, address):
        super().__init__(TrackerSpec(), provider=address, precision="fp32", files=[])
        self.client = triton.InferenceServerClient(address)

    def _ask(self, model, arrays):
        inputs = [triton.InferInput(n, a.shape, np_to_triton_dtype(a.dtype)) for n, a in arrays.items()]
        answer = self.client.infer(model, [i.set_data_from_numpy(arrays[i.name()]) for i in inputs])
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}

    def _template(self, crops):
        return self._ask("mvt_template", {"crop": crops})  # the features stay with the client

    def _search(self, crops, features, score_map):
        return SearchResult(**self._ask("mvt_search", {"crop": crops, **features}))


capture, box = cv2.VideoCapture(sys.argv[2]), tuple(map(float, sys.argv[3].split(",")))
tracker = mvt.Tracker(TritonBackend(sys.argv[1]))
tracker.init(capture.read()[1], box)
while (frame := capture.read()[1]) is not None:
    print(*tracker.update(frame).box.rounded)
