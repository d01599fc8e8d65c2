"""A Ray Serve application on a cluster of its own: python ray_app.py PORT REPLICAS."""

import sys

import ray
from neighbours import Neighbours
from ray import serve


@serve.deployment(num_replicas=int(sys.argv[2]), ray_actor_options={"num_cpus": 0})
class Application:
    def __init__(self):
        self.neighbours = Neighbours()

    async def __call__(self, request):
        return self.neighbours.answer([(await request.json())["image"]])


if __name__ == "__main__":
    ray.init(address="local", num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Application.bind(), route_prefix="/neighbours", blocking=True)
