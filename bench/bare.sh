#!/bin/sh
# The work of a first deploy as somebody would script it by hand, with nothing checked: the yardstick of
# first_converge.py. It uses the same packages, lock file, uv and byte-compilation, so that only the tool differs.
# Environment: INSTALLER_URL, CHANNEL_ALIAS; the lock files lie beside it.
set -eu
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends ca-certificates curl postgresql postgresql-client
useradd --system --user-group --home-dir /var/lib/mlflow --no-create-home mlflow
install -d -o mlflow -g mlflow /var/lib/mlflow /var/lib/mlflow/artifacts
cat > /etc/postgresql/15/main/conf.d/tuning.conf <<EOF
shared_buffers = 1GB
work_mem = 8MB
max_wal_size = 2GB
random_page_cost = 1.1
EOF
systemctl restart postgresql@15-main
runuser -u postgres -- psql -q -c 'CREATE ROLE mlflow LOGIN' -c 'CREATE DATABASE mlflow OWNER mlflow'
curl -sSfo /root/miniconda.sh "$INSTALLER_URL"
mkdir -p /opt/mlflow
bash /root/miniconda.sh -b -p /opt/mlflow/miniconda3
env=/opt/mlflow/env
/opt/mlflow/miniconda3/bin/conda create -y -q -p $env --override-channels -c "$CHANNEL_ALIAS/conda-forge" python=3.12 pip
$env/bin/python -m pip install -q --require-hashes --target /opt/mlflow/uv -r "$here/uv.txt"
/opt/mlflow/uv/bin/uv pip install -q --python $env/bin/python --require-hashes -r "$here/mlflow.txt"
$env/bin/python -m compileall -qq -j 0 $env/lib || true
runuser -u mlflow -- $env/bin/mlflow db upgrade 'postgresql+psycopg2://mlflow@/mlflow?host=/run/postgresql' > /dev/null 2>&1
cat > /etc/systemd/system/mlflow-production.service <<EOF
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
EOF
cat > /etc/systemd/system/mlflow-tracking.service <<EOF
[Service]
User=mlflow
WorkingDirectory=/var/lib/mlflow
Environment=PATH=$env/bin:/usr/bin:/bin MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
ExecStart=$env/bin/mlflow server --workers 1 --host 0.0.0.0 --backend-store-uri postgresql+psycopg2://mlflow@/mlflow?host=/run/postgresql --artifacts-destination /var/lib/mlflow/artifacts
[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable -q --now mlflow-tracking mlflow-production
i=0
until curl -sf -o /dev/null -X POST -H 'Content-Type: application/json' -d '{"max_results": 1}' \
    http://127.0.0.1:5000/api/2.0/mlflow/experiments/search; do
    i=$((i + 1)); [ $i -lt 1200 ] || exit 1
    sleep 0.25
done
