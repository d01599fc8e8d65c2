"""A LitServe server: python litserve_app.py PORT WORKERS."""

import sys

import litserve
from neighbours import Neighbours


class Api(litserve.LitAPI):
    def setup(self, device):
        self.neighbours = Neighbours()

    def decode_request(self, request):
        return [request["image"]]

    def predict(self, images):
        return self.neighbours.answer(images)


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
