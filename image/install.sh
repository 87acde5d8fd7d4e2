#!/bin/sh
# In an image's first stage: install the requirements into /opt/mlflow/env, as its hosts do it, byte-compiled.
set -eu
. /run/secrets/index  # the package index, and whom its certificate has to be from

python3 -m venv /tmp/tools
/tmp/tools/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r /build/uv.txt
python3 -m venv --without-pip /opt/mlflow/env
python=/opt/mlflow/env/bin/python
hashes=
[ "$LOCKED" = false ] || hashes=--require-hashes
UV_PYTHON_DOWNLOADS=never /tmp/tools/bin/uv pip install --quiet --no-cache --python $python $hashes -r /build/requirements.txt

if [ "$LOCKED" = true ]; then
    $python -I /build/check_environment.py /build/requirements.txt
    # A tenth of it is tests of the packages, and headers to compile against.
    find /opt/mlflow/env/lib -depth -type d \( -name tests -o -name include \) -exec rm -rf {} +
fi
# What can't even be imported, as for a library that the base lacks, is no image.
$python -I -c 'import mlflow.server.fastapi_app, mlflow.pyfunc.scoring_server'
# Without byte code each start takes 2.5 times as long, since the container can't write it. The status only says that
# some package ships a template that is no Python.
$python -I -m compileall -q -j 0 /opt/mlflow/env/lib > /dev/null || true
# Where MLflow finds gate.py, and the plugin that keeps clients away from the object store.
printf '%s\n' /opt/mlflow/libexec /opt/mlflow/libexec/mlflow-plugin \
    > "$(echo /opt/mlflow/env/lib/python3*/site-packages)/mlflow_stack.pth"
