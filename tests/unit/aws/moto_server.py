"""moto's own server, as a process: python -m tests.unit.aws.moto_server PORT

Amazon can't be reached from the tests, so moto stands in for it. What moto 5.2 lacks of what is used here, and a stack
could not be made without, is added, and nothing else:

- It forgets the outputs of stacks that were made or changed by a change set. They are worked out by its own code.
- It does not resolve a reference to a parameter group of a database.
- It takes DeletionPolicy: RetainExceptOnCreate for none, and removes what has it.
- It leaves the route tables of a stack that is removed, and then can't remove their network.
- It spells the properties of containers otherwise once their task definition was changed.
- It can't say which versions of a database are offered (rds:DescribeDBEngineVersions). A few are.
- It runs no containers, and all its tasks end well. Those of an image whose tag is BROKEN end with status 1.

What it takes and does not do is said in docs/how-to/aws.md.
"""

import sys
from typing import Any

from moto.cloudformation.models import ChangeSet
from moto.cloudformation.parsing import ResourceMap
from moto.core.responses import ActionResult
from moto.ec2.models.route_tables import RouteTable
from moto.ecs.models import Container, TaskDefinition
from moto.rds.models import DBParameterGroup
from moto.rds.responses import RDSResponse
from moto.server import main

BROKEN = "broken"
OFFERED = {"postgres": ("16.15", "17.11"), "mysql": ("8.0.46", "8.4.9")}


def with_outputs(apply: Any) -> Any:
    def apply_with_outputs(change_set: ChangeSet) -> None:
        apply(change_set)
        stack = change_set.stack
        stack.template, stack.template_dict = change_set.template, change_set.template_dict
        stack.output_map = stack._create_output_map()

    return apply_with_outputs


def describe_db_engine_versions(response: RDSResponse) -> ActionResult:
    engine, version = (response.params.get(key, "") for key in ("Engine", "EngineVersion"))
    found = [each for each in OFFERED[engine] if f"{each}.".startswith(f"{version}.")]
    return ActionResult({"DBEngineVersions": [{"Engine": engine, "EngineVersion": each} for each in found]})


def with_status(begin: Any) -> Any:
    def begin_with_status(container: Container, task_def: Any) -> None:
        begin(container, task_def)
        container.exitCode = int(str(container.image).endswith(f":{BROKEN}"))

    return begin_with_status


def with_retained(delete: Any) -> Any:
    def delete_without_retained(resources: ResourceMap) -> None:
        for each in resources._resource_json_map.values():
            if each.get("DeletionPolicy") == "RetainExceptOnCreate":
                each["DeletionPolicy"] = "Retain"
        delete(resources)

    return delete_without_retained


def delete_route_table(table: RouteTable, account_id: str, region_name: str) -> None:
    table._associations.clear()
    table.ec2_backend.delete_route_table(table.id)


def register_anew(
    cls: type[TaskDefinition], original_resource: Any, new_resource_name: str, *arguments: Any, **named: Any
) -> TaskDefinition:
    return cls.create_from_cloudformation_json(new_resource_name, *arguments, **named)


ChangeSet.apply = with_outputs(ChangeSet.apply)  # type: ignore[method-assign]
DBParameterGroup.physical_resource_id = property(lambda group: group.name)  # type: ignore[attr-defined]
RDSResponse.describe_db_engine_versions = describe_db_engine_versions  # type: ignore[attr-defined]
RouteTable.delete = delete_route_table  # type: ignore[attr-defined]
ResourceMap.delete = with_retained(ResourceMap.delete)  # type: ignore[method-assign]
TaskDefinition.update_from_cloudformation_json = classmethod(register_anew)  # type: ignore[assignment,arg-type]
Container.__init__ = with_status(Container.__init__)  # type: ignore[method-assign]

if __name__ == "__main__":
    main(["--host", "127.0.0.1", "--port", sys.argv[1]])
