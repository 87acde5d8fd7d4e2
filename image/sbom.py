"""sbom TITLE VERSION PYTHON: print what is in an image, as CycloneDX 1.6 in JSON.

Run while an image is built, by a Python with cyclonedx-bom (locks/sbom.in). That reads the environment of PYTHON; the
packages of Debian that the base has, and Python itself, which is none of those in Python's own images, are added here.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

PACKAGES = "${Package}\\t${Version}\\t${Architecture}\\n"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def environment(python: str) -> Bom:
    """Return the packages of a Python environment."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    text = output(str(program), "environment", "--output-reproducible", "--spec-version", "1.6", python)
    return Bom.from_json(json.loads(text))  # type: ignore[attr-defined]  # py-serializable makes it


def release() -> str:
    """Return what a package URL calls the distribution, as debian-12."""
    lines = Path("/etc/os-release").read_text().splitlines()
    values = dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)
    return f"{values['ID']}-{values.get('VERSION_ID', values.get('VERSION_CODENAME', ''))}"


def debian() -> Iterator[Component]:
    """Yield the packages of Debian that are installed."""
    for line in output("dpkg-query", "--show", f"--showformat={PACKAGES}").splitlines():
        name, version, architecture = line.split("\t")
        url = PackageURL("deb", "debian", name, version, {"arch": architecture, "distro": release()})
        yield Component(name=name, version=version, purl=url, bom_ref=str(url))


def interpreter(python: str) -> Component:
    version = output(python, "-I", "-c", "import platform; print(platform.python_version())").strip()
    url = PackageURL("generic", None, "python", version)
    return Component(name="python", version=version, type=ComponentType.APPLICATION, purl=url, bom_ref=str(url))


def main() -> int:
    title, version, python = sys.argv[1:]
    bom = environment(python)
    bom.components.update([*debian(), interpreter(python)])
    image = Component(name=title, version=version, type=ComponentType.CONTAINER, bom_ref="image")
    bom.metadata.component = image
    bom.register_dependency(image, bom.components)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"what was made is no CycloneDX 1.6: {wrong}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
