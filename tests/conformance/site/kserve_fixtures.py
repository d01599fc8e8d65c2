"""The fixture that KServe's tests share; their conftest.py is not in the source distribution."""

import kserve
import pytest
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.protocol.rest.server import RESTServer


@pytest.fixture(scope="session")
def server():
    """Return a ModelServer whose application has its routes, and which listens nowhere."""
    result = kserve.ModelServer(registered_models=kserve.ModelRepository())
    rest = RESTServer(
        FASTAPI_APP_IMPORT_STRING, result.dataplane, result.model_repository_extension, http_port=result.http_port
    )
    rest.create_application()
    return result
