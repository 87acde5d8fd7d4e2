"""What ends up on which host, in order. `pyinfra inventory.py deploy.py --dry` shows what a run would change."""

from pyinfra import config, host

from mlflow_stack.inventory_check import load
from mlflow_stack.review import reviewed
from mlflow_stack.roles.base import deploy_base
from mlflow_stack.roles.conda import deploy_conda, deploy_conda_cleanup
from mlflow_stack.roles.firewall import close_old_ports, deploy_firewall
from mlflow_stack.roles.postgresql import deploy_postgresql
from mlflow_stack.roles.preflight import preflight
from mlflow_stack.roles.production import deploy_production
from mlflow_stack.roles.proxy import deploy_login, deploy_proxy
from mlflow_stack.roles.tracking import deploy_tracking
from mlflow_stack.roles.waiting import wait_for_database, wait_for_tracking

# How the commands of this run are known on the hosts (config.py); pyinfra 3.10 forgets it when it loads this file.
config.ENV = host.state.config.ENV

# Both look at all hosts, and stop the run before any host is changed.
settings = load(host)
survey = preflight(host)

with reviewed(survey.machine_id):
    deploy_base(settings=settings, survey=survey)
    deploy_firewall(settings=settings, survey=survey)

    if "postgresql" in host.groups:
        deploy_postgresql(settings=settings, survey=survey)

    if "tracking" in host.groups or "production" in host.groups:
        environment = deploy_conda(settings=settings, survey=survey)

    wait_for_database(settings=settings)

    # The login names users to MLflow as soon as MLflow asks, and for as long as it does: nobody is refused in between.
    if "proxy" in host.groups and settings.has_permissions:
        deploy_login(settings=settings, survey=survey)

    if "tracking" in host.groups:
        deploy_tracking(settings=settings, survey=survey, environment_built=environment)

    if "proxy" in host.groups:
        if not settings.has_permissions:
            deploy_login(settings=settings, survey=survey)
        deploy_proxy(settings=settings, survey=survey)

    wait_for_tracking(settings=settings)

    if "production" in host.groups:
        deploy_production(settings=settings, survey=survey)

    if "tracking" in host.groups or "production" in host.groups:
        deploy_conda_cleanup(settings=settings)

    close_old_ports(settings=settings, survey=survey)
