from sparsam.metering.ledger import LedgerFile
from sparsam.power.attribution import Node, Use, attribute

PARTED = attribute(Node(30.0, 10.0), Use.of_cpu([1.0]))


async def test_energy_goes_on_after_a_restart(tmp_path):
    first = LedgerFile(tmp_path / "energy.json")
    first.ledger.observe(["a"], PARTED, 10.0)
    await first.save()
    again = LedgerFile(tmp_path / "energy.json")
    assert again.ledger.consumers == {"a": 200.0}
    assert again.ledger.joules == 300.0


async def test_a_broken_file_is_put_aside_and_energy_begins_anew(tmp_path, caplog):
    path = tmp_path / "energy.json"
    path.write_text('{"parts": ')
    ledger = LedgerFile(path)
    assert ledger.ledger.joules == 0.0
    assert (tmp_path / "energy.broken").exists()
    assert "unreadable" in caplog.text
    await ledger.save()
    assert LedgerFile(path).ledger.joules == 0.0


async def test_a_full_disk_is_said_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "here").write_text("a file, not a folder")
    ledger = LedgerFile(tmp_path / "other" / "energy.json")
    (tmp_path / "other").write_text("in the way")
    await ledger.save()
    assert "not written" in caplog.text
