#!/bin/sh
# In an image's first stage, when all is installed: say what is in it (sbom.py), with tools that stay in this stage.
set -eu
. /run/secrets/index

python3 -m venv /tmp/sbom
/tmp/sbom/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r /build/sbom.txt
/tmp/sbom/bin/python /build/sbom.py "$TITLE" "$VERSION" /opt/mlflow/env/bin/python > /opt/mlflow/sbom.cdx.json
