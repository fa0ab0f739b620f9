"""A new password by command: the server has to run, and the password stands in no argument."""

from pathlib import Path

from tests.cli.conftest import Admin, Run

ACCOUNT = ("POST", "/account/password")


def test_a_new_password_goes_to_the_running_server(run: Run, admin: Admin, tmp_path: Path) -> None:
    admin.answer(*ACCOUNT, {"user_id": "@alice:a.example"})
    (tmp_path / "secret").write_text("battery staple\n")
    told = run("password", "--password-file", str(tmp_path / "secret"))
    assert told.exit_code == 0
    assert "@alice:a.example" in told.output
    assert "logged out" in told.output
    assert "battery" not in told.output
    body = {"new_password": "battery staple", "logout_devices": True}
    assert admin.asked == [(*ACCOUNT, body)]


def test_clients_may_stay(run: Run, admin: Admin, tmp_path: Path) -> None:
    admin.answer(*ACCOUNT, {"user_id": "@alice:a.example"})
    (tmp_path / "secret").write_text("x")
    told = run("password", "--keep-sessions", "--password-file", str(tmp_path / "secret"))
    assert "logged out" not in told.output
    assert admin.asked == [(*ACCOUNT, {"new_password": "x", "logout_devices": False})]


def test_a_server_that_does_not_run_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    told = run("password", "--password-file", str(tmp_path / "secret"))
    assert told.exit_code == 1
    assert "The server is not running" in told.output


def test_a_file_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    told = run("password", "--password-file", str(tmp_path / "nothing"))
    assert told.exit_code == 1
    assert "The password cannot be read" in told.output
