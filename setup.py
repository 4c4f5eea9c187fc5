"""The one thing that setup.cfg cannot say: the compiled part, which is optional.

Without a C compiler the package is built without it and does the same, slower.
"""

from setuptools import Extension, setup

PARTS = {
    "_frames": ["_frames"],
    "_splice": [
        "_splice",
        "_splice_envelope",
        "_splice_escape",
        "_splice_json",
        "_splice_msgpack",
        "_splice_record",
        "_splice_text",
        "_splice_watch",
    ],
}

setup(
    ext_modules=[
        Extension(
            f"nats_fluent.{part}",
            [f"nats_fluent/{source}.c" for source in sources],
            depends=["nats_fluent/_splice.h", "nats_fluent/_splice_msgpack.h"] if part == "_splice" else [],
            optional=True,
        )
        for part, sources in PARTS.items()
    ]
)
