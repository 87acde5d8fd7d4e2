"""CloudFormation templates: read, filled in with the values of their parameters, and compared.

A template is sent filled in, without parameters: what a stack has can then be compared with what it is to have,
property by property, and its text says all of it. By hand the same files are deployed with parameters, as always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

Template = dict[str, Any]
# Says that a property, or a whole resource's condition, has no value (pseudo parameter AWS::NoValue).
_NOTHING = object()


# libyaml's, where PyYAML has it, reads a template in a tenth of the time.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # a class that is chosen when this is loaded
    """YAML with CloudFormation's short forms: !Ref X is {Ref: X}, !Sub X is {Fn::Sub: X}."""


def _short_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(cast(yaml.MappingNode, node), deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)
# A date is a text here, as the version of a policy.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str) -> Template:
    """Return a template as data, with the long forms of the functions."""
    return cast(Template, yaml.load(text, Loader=_Loader))  # noqa: S506  # it is a SafeLoader


def text_of(template: Template) -> str:
    """Return a template as YAML."""
    return yaml.safe_dump(template, sort_keys=False, width=1000)


def filled(template: Template, values: Mapping[str, Any]) -> Template:
    """Return a template in which parameters have their values, and what follows from conditions is decided.

    Raises KeyError for a value that no parameter takes, and for a parameter without a value.
    """
    parameters = template.get("Parameters", {})
    if unknown := sorted(set(values) - set(parameters)):
        raise KeyError(f"no parameter {', '.join(unknown)}")
    given = {name: values[name] if name in values else slot["Default"] for name, slot in parameters.items()}
    filling = _Filling(given, template.get("Conditions", {}))
    kept = {key: value for key, value in template.items() if key not in ("Parameters", "Conditions")}
    for part in ("Resources", "Outputs"):
        entries = template.get(part, {})
        kept[part] = {
            name: {key: filling.value(value) for key, value in entry.items() if key != "Condition"}
            for name, entry in entries.items()
            if filling.holds(entry.get("Condition"))
        }
    return kept


class _Filling:
    def __init__(self, given: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        self.given, self.conditions = given, conditions

    def holds(self, name: str | None) -> bool:
        return name is None or self._decided(self.conditions[name])

    def _decided(self, condition: Any) -> bool:
        (function, operands), *_ = condition.items()
        if function == "Condition":
            return self.holds(operands)
        if function == "Fn::Equals":
            first, second = (str(self.value(operand)) for operand in operands)
            return first == second
        if function == "Fn::Not":
            return not self._decided(operands[0])
        decide = {"Fn::And": all, "Fn::Or": any}[function]
        return decide(self._decided(operand) for operand in operands)

    def value(self, value: Any) -> Any:
        """Return a value with its parameters and conditions decided; _NOTHING where it is to be left out."""
        if isinstance(value, list):
            return [each for each in map(self.value, value) if each is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, operand), *_ = value.items()
            if function in ("Ref", "Fn::Sub", "Fn::If", "Fn::Select", "Fn::Join"):
                return self._called(function, operand)
        entries = ((key, self.value(each)) for key, each in value.items())
        return {key: each for key, each in entries if each is not _NOTHING}

    def _called(self, function: str, operand: Any) -> Any:
        if function == "Ref":
            return _NOTHING if operand == "AWS::NoValue" else self.given.get(operand, {"Ref": operand})
        if function == "Fn::If":
            name, yes, no = operand
            return self.value(yes if self.holds(name) else no)
        inner = self.value(operand)
        if function == "Fn::Sub":
            text = re.sub(r"\$\{(\w+)\}", lambda found: str(self.given.get(found[1], found[0])), inner)
            return {function: text} if "${" in text else text
        if function == "Fn::Select" and isinstance(inner[1], list):
            return inner[1][int(inner[0])]
        if function == "Fn::Join" and all(isinstance(each, str) for each in inner[1]):
            return str(inner[0]).join(inner[1])
        return {function: inner}


@dataclass(frozen=True)
class Difference:
    """One property of a resource that is to be another one; None is a property that is not there."""

    path: str
    before: Any
    after: Any


def differences(before: Template, after: Template, resource: str) -> tuple[Difference, ...]:
    """Return what differs between two templates in one resource, by property, in the order of the paths."""
    was, will = (_properties(template.get("Resources", {}).get(resource, {})) for template in (before, after))
    paths = dict.fromkeys([*was, *will])
    return tuple(
        Difference(path.removeprefix("Properties."), was.get(path), will.get(path))
        for path in sorted(paths)
        if was.get(path) != will.get(path)
    )


def _properties(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resource is made with, by path."""
    entries = {key: value for key, value in resource.items() if key != "Type" and value}
    return dict(_leaves(entries)) if entries else {}


def changed_resources(before: Template, after: Template) -> list[str]:
    """Return the names of the resources that differ between two templates."""
    old, new = (template.get("Resources", {}) for template in (before, after))
    return [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that holds nothing else. Entries of a list are known by their names."""
    if isinstance(value, dict) and value and not _is_function(value):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            names = (each[key] for key in ("Name", "Sid", "Key") if isinstance(each, dict) and key in each)
            yield from _leaves(each, f"{path}[{next(names, number)}]")
    else:
        yield path, shown(value)


def _is_function(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))


def shown(value: Any) -> Any:
    """Return a value as a plan shows it: a function by its short form."""
    if isinstance(value, dict) and _is_function(value):
        ((name, operand),) = value.items()
        inner = ".".join(map(str, operand)) if name == "Fn::GetAtt" and isinstance(operand, list) else operand
        return f"!{name.removeprefix('Fn::')} {inner}"
    return value
