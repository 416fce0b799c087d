"""The error keys that clients and people rely on (add-on contract §7.1, API contract §1.5)."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from supervisor import errors
from supervisor.api.status import status_of
from supervisor.errors import ErrorKind

SOURCES = Path(errors.__file__).parent

# key -> HTTP status, fields; written down from the contract's table.
TABLE: dict[str, tuple[int, set[str]]] = {
    "app_already_installed_error": (400, {"app", "slug"}),
    "app_not_found_error": (400, {"slug"}),
    "app_not_installed_error": (400, {"slug"}),
    "app_not_in_store_error": (400, {"app", "slug"}),
    "app_no_update_available_error": (400, {"app", "slug"}),
    "app_rebuild_version_changed_error": (400, {"app", "slug"}),
    "app_rebuild_image_based_error": (400, {"app", "slug"}),
    "app_not_supported_architecture_error": (400, {"app", "slug", "architectures"}),
    "app_not_supported_machine_type_error": (400, {"app", "slug", "machine_types"}),
    "app_not_supported_home_assistant_version_error": (400, {"app", "slug", "version"}),
    "app_configuration_invalid_error": (400, {"app", "validation_error"}),
    "app_boot_config_cannot_change_error": (400, {"app", "boot_config"}),
    "app_not_running_error": (400, {"app"}),
    "app_not_supported_write_stdin_error": (400, {"app"}),
    "app_port_conflict": (400, {"name", "port"}),
    "docker_container_port_conflict": (400, {"name", "port"}),
    "app_build_dockerfile_missing_error": (400, {"app", "repair_command"}),
    "app_build_architecture_not_supported_error": (400, {"app", "app_arches", "system_arches"}),
    "app_file_read_error": (400, {"app", "error"}),
    "app_build_failed_unknown_error": (500, {"app"}),
    "app_unknown_error": (500, {"app"}),
    "app_pre_post_backup_command_returned_error": (400, {"app", "exit_code", "debug_logging_command"}),
    "docker_no_space_on_device": (400, set()),
    "docker_registry_auth_error": (400, {"registry"}),
    "dockerhub_rate_limit_exceeded": (429, {"dockerhub_rate_limit_url"}),
    "ghcr_rate_limit_exceeded": (429, set()),
    "container_registry_rate_limit_exceeded": (429, set()),
    "store_app_not_found_error": (404, {"app"}),
    "store_repository_already_added_error": (409, {"url"}),
    "store_repository_local_cannot_reset": (400, {"local_repo"}),
    "store_repository_unknown_error": (500, {"repo"}),
    "service_already_provided_error": (409, {"service", "app"}),
    "service_not_provided_error": (404, {"service"}),
    "resolution_check_not_found_error": (404, {"check"}),
    "resolution_issue_not_found_error": (404, {"uuid"}),
    "resolution_suggestion_not_found_error": (404, {"uuid"}),
}

KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, ErrorKind)}


def made_of(kind: ErrorKind) -> errors.SupervisorError:
    fields = [field for _, field, _, _ in string.Formatter().parse(kind.template) if field]
    # Those whose text does not show everything that clients get.
    more = TABLE.get(kind.key, (0, set()))[1]
    return kind(**dict.fromkeys({*fields, *more}, "x"))


@pytest.mark.parametrize("key", sorted(TABLE))
def test_every_key_of_the_contract_is_there_with_its_status_and_fields(key: str) -> None:
    kinds = [kind for kind in KINDS.values() if kind.key == key]
    assert kinds, key
    status, fields = TABLE[key]
    for kind in kinds:
        error = made_of(kind)
        assert status_of(error) == status
        assert fields <= set(error.fields or {})
        assert str(error)


def used_names(text: str) -> set[str]:
    """Return the names that a source uses, without those that it imports or defines alone."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def test_every_kind_of_error_is_raised_somewhere() -> None:
    left = set(KINDS)
    for file in SOURCES.rglob("*.py"):
        text = "" if file.name == "errors.py" else file.read_text()
        # To parse all of them takes longer than the rest of these tests.
        if any(name in text for name in left):
            left -= used_names(text)
    assert not left
