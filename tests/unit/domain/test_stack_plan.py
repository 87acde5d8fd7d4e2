"""A plan of stacks, in words and in a line."""

from __future__ import annotations

from mlflow_stack.domain.cloudformation import Difference
from mlflow_stack.domain.stack_plan import ResourceChange, StackChange, summary, to_text

CHANGE = StackChange(
    "mlflow-service",
    (
        ResourceChange("Record", "AWS::Route53::RecordSet", "add", (Difference("Type", None, "A"),)),
        ResourceChange("Tasks", "AWS::ApplicationAutoScaling::ScalableTarget", "change", (Difference("Max", 4, 6),)),
        ResourceChange(
            "Task",
            "AWS::ECS::TaskDefinition",
            "replace",
            (Difference("Cpu", "512", None), Difference("Memory", None, "2048"), Difference("Ca", None, "a\nb\n")),
        ),
        ResourceChange("Database", "AWS::RDS::DBInstance", "replace?"),
        ResourceChange("Listener", "AWS::ElasticLoadBalancingV2::Listener", "remove"),
    ),
    ("a task is run",),
    3,
)


def test_each_resource_is_named_with_what_becomes_of_it_and_by_which_properties() -> None:
    assert list(to_text(CHANGE)) == [
        "mlflow-service: a task is run",
        "mlflow-service: + Record (AWS::Route53::RecordSet), new",
        "mlflow-service: ~ Tasks (AWS::ApplicationAutoScaling::ScalableTarget), changed in place",
        "    Max: 4 -> 6",
        "mlflow-service: ± Task (AWS::ECS::TaskDefinition), replaced by a new one",
        "    Cpu: 512 (removed)",
        "    Memory: 2048 (new)",
        "    Ca: 2 lines, sha256 911169ddaaf1… (new)",
        "mlflow-service: ± Database (AWS::RDS::DBInstance), changed, or replaced by a new one",
        "mlflow-service: - Listener (AWS::ElasticLoadBalancingV2::Listener), removed",
    ]


def test_summary_counts_each_kind() -> None:
    assert summary([CHANGE, StackChange("mlflow-data", idle=9)]) == (
        "1 new, 1 changed, 1 replaced, 1 perhaps replaced, 1 removed, 1 other step; 12 resources as declared"
    )
    assert summary([StackChange("mlflow-data", idle=9)]) == "nothing to do; 9 resources as declared"
