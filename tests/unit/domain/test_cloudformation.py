"""Templates: read with their short forms, filled in, and compared."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_stack.domain.cloudformation import Difference, changed_resources, differences, filled, parse, text_of

TEXT = """
Parameters:
  Name: {Type: String}
  Networks: {Type: CommaDelimitedList, Default: [x]}
  Most: {Type: Number, Default: 4}
  Certificate: {Type: String, Default: ""}
Conditions:
  HasTls: !Not [!Equals [!Ref Certificate, ""]]
  IsLarge: !And [!Condition HasTls, !Or [!Equals [!Ref Most, 9], !Equals [!Ref Name, large]]]
Resources:
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties:
      Description: !Sub "${Name} in ${AWS::Region}"
      Title: !Sub "${Name}!"
      First: !Select [0, !Ref Networks]
      Most: !Ref Most
      Zone: !Select [1, !GetAZs ""]
      Address: !GetAtt Database.Endpoint.Address
      Joined: !Join [",", !Ref Networks]
      Port: !If [HasTls, 443, 80]
      Left: !If [HasTls, out, !Ref AWS::NoValue]
      Rules: [first, !If [HasTls, second, !Ref "AWS::NoValue"]]
      Policy: {Version: 2012-10-17}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Condition: HasTls
  Large:
    Type: AWS::EC2::Instance
    Condition: IsLarge
Outputs:
  Tls: {Condition: HasTls, Value: !Ref Listener}
  Group: {Value: !GetAtt Group.GroupId}
"""


def group(**values: Any) -> dict[str, Any]:
    """Return the properties of the group in the filled template."""
    return dict(
        filled(parse(TEXT), {"Name": "mlflow", "Networks": ["a", "b"], **values})["Resources"]["Group"]["Properties"]
    )


def test_parameters_and_conditions_are_filled_in_and_what_only_aws_knows_stays() -> None:
    assert group() == {
        "Description": {"Fn::Sub": "mlflow in ${AWS::Region}"},
        "Title": "mlflow!",
        "First": "a",
        "Most": 4,
        "Zone": {"Fn::Select": [1, {"Fn::GetAZs": ""}]},
        "Address": {"Fn::GetAtt": ["Database", "Endpoint.Address"]},
        "Joined": "a,b",
        "Port": 80,
        "Rules": ["first"],
        "Policy": {"Version": "2012-10-17"},
    }


def test_condition_that_holds_adds_what_hangs_on_it() -> None:
    without, with_tls = (filled(parse(TEXT), {"Name": "mlflow", "Certificate": arn}) for arn in ("", "arn"))
    large = filled(parse(TEXT), {"Name": "mlflow", "Certificate": "arn", "Most": 9})

    assert [list(each["Resources"]) for each in (without, with_tls, large)] == [
        ["Group"],
        ["Group", "Listener"],
        ["Group", "Listener", "Large"],
    ]
    assert [list(each["Outputs"]) for each in (without, with_tls)] == [["Group"], ["Tls", "Group"]]
    assert group(Certificate="arn")["Rules"] == ["first", "second"]
    assert group(Certificate="arn")["Left"] == "out"


def test_filled_template_has_no_parameters_and_is_read_back_as_it_is() -> None:
    template = filled(parse(TEXT), {"Name": "mlflow"})

    assert set(template) == {"Resources", "Outputs"}
    assert parse(text_of(template)) == template


@pytest.mark.parametrize(("values", "problem"), [({"Name": "mlflow", "Nam": "x"}, "no parameter Nam"), ({}, "Default")])
def test_value_too_many_or_too_few_is_an_error(values: dict[str, str], problem: str) -> None:
    with pytest.raises(KeyError, match=problem):
        filled(parse(TEXT), values)


def template(**properties: Any) -> dict[str, Any]:
    return {"Resources": {"Thing": {"Type": "AWS::ECS::Service", "Properties": properties}}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"Max": 4}, {"Max": 6}, [Difference("Max", 4, 6)]),
        ({"Max": 4, "Min": 1}, {"Max": 4}, [Difference("Min", 1, None)]),
        ({}, {"Tags": []}, [Difference("Tags", None, [])]),
        (
            {"Containers": [{"Name": "a", "Image": "x:1"}, {"Name": "b", "Image": "y:1"}]},
            {"Containers": [{"Name": "b", "Image": "y:2"}, {"Name": "a", "Image": "x:1"}]},
            [Difference("Containers[b].Image", "y:1", "y:2")],
        ),
        (
            {"Network": {"Subnets": ["a", {"Ref": "B"}]}},
            {"Network": {"Subnets": ["a", {"Fn::GetAtt": ["C", "Id"]}]}},
            [Difference("Network.Subnets[1]", "!Ref B", "!GetAtt C.Id")],
        ),
        ({"Max": 4}, {"Max": 4}, []),
    ],
)
def test_differences_are_named_by_their_property(
    before: dict[str, Any], after: dict[str, Any], expected: list[Difference]
) -> None:
    assert differences(template(**before), template(**after), "Thing") == tuple(expected)


def test_what_is_beside_the_properties_is_a_difference_too() -> None:
    kept = template()
    kept["Resources"]["Thing"]["DeletionPolicy"] = "Retain"

    assert differences(template(), kept, "Thing") == (Difference("DeletionPolicy", None, "Retain"),)


def test_resources_that_come_go_or_change_are_named() -> None:
    before = {"Resources": {"Stays": {"Type": "A"}, "Changes": {"Type": "B"}, "Goes": {"Type": "C"}}}
    after = {"Resources": {"Stays": {"Type": "A"}, "Changes": {"Type": "B2"}, "Comes": {"Type": "D"}}}

    assert changed_resources(before, after) == ["Changes", "Goes", "Comes"]
