import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def load_tool():
    """A script of tools/ as a module."""

    def load(name):
        path = Path(__file__).parents[2] / "tools" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
