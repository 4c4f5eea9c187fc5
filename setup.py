"""The one thing that setup.cfg cannot say: the compiled part, which is optional.

Without a C compiler the package is built without it and does the same, slower.
"""

from setuptools import Extension, setup

setup(ext_modules=[Extension("nats_fluent._splice", ["nats_fluent/_splice.c"], optional=True)])
