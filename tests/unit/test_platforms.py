"""The table of distributions."""

from mlflow_stack import platforms


def test_platform_is_found_by_its_os_release() -> None:
    platform = platforms.find_platform("debian", "12")

    assert platform is not None
    assert platform.postgresql_conf_dir == "/etc/postgresql/15/main"
    assert platform.postgresql_bin_dir == "/usr/lib/postgresql/15/bin"
    assert platform.postgresql_unit == "postgresql@15-main.service"


def test_platform_that_is_not_in_the_table_is_not_supported() -> None:
    assert platforms.find_platform("debian", "8") is None
    assert platforms.find_platform("", "") is None


def test_supported_platforms_are_named_for_people() -> None:
    assert "Debian 12 (bookworm)" in platforms.supported().split(", ")
    assert len(platforms.supported().split(", ")) == len(platforms.PLATFORMS)
