#!/opt/yhdyspinta/bin/python -IS
"""Ask the node in this container whether data can move. Exit code 0: it can; 1: it cannot, or nobody answers.

Knows nothing of the product, so that a check every few seconds costs next to nothing: where the node's local face
listens stands in its settings, or in the environment over them.
"""

import http.client
import os
import sys
import tomllib
from pathlib import Path


def local_face(folder: Path) -> tuple[str, int]:
    """Host and port of the local face, as the node takes them: the environment goes before the settings file."""
    text = os.environ.get("YHDYSPINTA_LISTEN__LOCAL")
    if text is None:
        text = tomllib.loads((folder / "node.toml").read_text("utf-8"))["listen"]["local"]
    host, _, port = text.rpartition(":")
    # A face that listens everywhere is asked on loopback.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]")), int(port)


def main() -> int:
    """Print the answer's status, or why there is none."""
    try:
        connection = http.client.HTTPConnection(*local_face(Path.cwd()), timeout=4)
        connection.request("GET", "/ready")
        answer = connection.getresponse()
    except (OSError, KeyError, ValueError, http.client.HTTPException) as error:
        print(f"no answer from the local face: {error}")
        return 1
    print(f"/ready answers {answer.status}")
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
