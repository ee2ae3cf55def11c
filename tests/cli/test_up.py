"""What `sparsam up` looks at before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsam.cli import up
from sparsam.cli.supervisor import SupervisorState
from sparsam.settings import Settings, SettingsError

BOTH = {"cluster_cidr": "10.244.0.0/16,fd00:10:244::/56", "service_cidr": "10.96.0.0/16,fd00:10:96::/112"}


@pytest.mark.parametrize("text", [None, "1\n"], ids=["lacks", "off"])
def test_a_machine_without_ipv6_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None):
    setting = tmp_path / "disable_ipv6"
    monkeypatch.setattr(up, "IPV6_OFF", setting)
    if text:
        setting.write_text(text)
    with pytest.raises(SettingsError, match="needs IPv6, which this machine's kernel lacks or has turned off"):
        up.require_families(Settings(**BOTH))
    up.require_families(Settings())
    setting.write_text("0\n")
    up.require_families(Settings(**BOTH))


def test_a_start_that_was_broken_off_is_brought_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    finished = []

    async def finish(settings: Settings) -> None:
        finished.append(settings.data_dir)

    monkeypatch.setattr(up, "read_state", lambda _: object())
    monkeypatch.setattr(up, "_wait_until_ready", finish)
    up.start(Settings(data_dir=str(tmp_path), parts="api,control"), detach=True)
    assert finished == [str(tmp_path)]
    assert "The cluster runs already." in capsys.readouterr().err


def test_down_is_not_led_astray_by_another_run_directory(tmp_path: Path):
    settings = Settings(data_dir=str(tmp_path), run_dir=str(tmp_path / "run"), parts="api")
    settings.write(tmp_path / "cluster.json")
    result = CliRunner().invoke(up.down, ["--data-dir", str(tmp_path), "--run-dir", str(tmp_path / "other")])
    assert isinstance(result.exception, SettingsError)
    assert f"runs in {tmp_path / 'run'}, not in {tmp_path / 'other'}" in str(result.exception)


def test_down_stops_the_processes_of_a_cluster_whose_data_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stopped = []
    monkeypatch.setattr(up, "read_state", lambda path: SupervisorState(7, {}, {}) if path == tmp_path else None)
    monkeypatch.setattr(up, "_stop", stopped.append)
    for run_dir in (tmp_path, tmp_path / "other"):
        result = CliRunner().invoke(up.down, ["--data-dir", str(tmp_path / "gone"), "--run-dir", str(run_dir)])
        assert result.exit_code == 0, result.output
        assert "nothing was removed" in result.output
    assert stopped == [7]
