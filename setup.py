"""The one thing that setup.cfg cannot say: the compiled parts, which are optional.

Without a C compiler the package is built without them and does the same, slower.
"""

from setuptools import Extension, setup

PARTS = ("_frames", "_splice")

setup(
    ext_modules=[Extension(f"nats_fluent.{part}", [f"nats_fluent/{part}.c"], optional=True) for part in PARTS]
)
