"""Credential files and commands: passwords that stand where a format puts them."""

from __future__ import annotations

import base64

import pytest

from penstock.detect import Detectors

SECRETS = Detectors(["secret"])
PASSWORD = "Qx7pLz" + "2wVmK9"
CODED = base64.b64encode(b"bob:" + PASSWORD.encode()).decode()
FILES = {
    ".pgpass": f"db.example.org:5432:app:appuser:{PASSWORD}\nlocalhost:5432:app:bob:changeme\n",
    ".pgpass with stars": f"*:*:*:postgres:{PASSWORD}\n",
    ".netrc": f"machine api.example.org\n  login bob\n  password {PASSWORD}\n",
    ".netrc on a line": f"machine api.example.org login bob password {PASSWORD}\n",
    ".my.cnf": f"[client]\nuser = root\npassword = {PASSWORD}\n",
    ".npmrc": f"//registry.example.org/:_authToken={PASSWORD}\n",
    ".npmrc of old": f"_auth={CODED}\nemail=bob@example.org\n",
    ".pypirc": f"[pypi]\nusername = bob\npassword = {PASSWORD}\n",
    "docker config": f'{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{CODED}"}}}}}}',
    ".htpasswd": f"bob:{{SHA}}{CODED}{CODED[:8]}=\n",
    "wp-config": f"define( 'DB_PASSWORD', '{PASSWORD}' );",
    "wp-config's salts": f"define('AUTH_KEY', '{8 * '|+-!@'}{PASSWORD}{4 * 'x {}[]'}');",
    "master.key": f"config/master.key\n{'7af4df6e0f2c1e77' + '268768451851a5d2'}\n",
    "terraform state": f'"outputs": {{"db_password": {{"value": "{PASSWORD}", "type": "string"}}}}',
    "terraform variable": (
        f'variable "db_password" {{\n  type    = string\n  default = "{PASSWORD}"\n}}'
    ),
    "tfvars": f'db_password      = "{PASSWORD}"\n',
    "kubernetes environment": f"env:\n- name: DB_PASSWORD\n  value: {PASSWORD}\n",
    "task definition": f'{{"name": "DB_PASSWORD", "value": "{PASSWORD}"}}',
    "nuget.config": f'<add key="ClearTextPassword" value="{PASSWORD}" />',
    "kubeconfig": f"- name: x\n  user:\n    username: admin\n    password: {PASSWORD}\n",
    "filezilla": f'<Pass encoding="base64">{CODED}</Pass>',
    "wpa_supplicant": f'network={{\n ssid="x"\n psk="{PASSWORD}"\n}}',
    "mysql": f"mysql -uroot -p{PASSWORD} -h db",
    "docker login": f"docker login -u bob -p {PASSWORD} registry.example.org",
    "sshpass": f"sshpass -p '{PASSWORD}' ssh bob@example.org",
    "redis-cli": f"redis-cli -h cache -a {PASSWORD} ping",
    "lftp": f"lftp -u bob,{PASSWORD} ftp://ftp.example.org",
    "sqlplus": f"sqlplus scott/{PASSWORD}@db",
    "oracle": f"jdbc:oracle:thin:scott/{PASSWORD}@db:1521:x",
}


@pytest.mark.parametrize("name", FILES)
def test_a_password_is_found_by_its_place(name: str) -> None:
    text = FILES[name]
    found = [text[f.start : f.end] for f in SECRETS.scan(text)]
    assert len(found) == 1, found
    assert any(value in found[0] for value in (PASSWORD, CODED, "7af4df6e"))


@pytest.mark.parametrize(
    "text",
    [
        "src/main.py:1234:parse:error:expected_identifier",
        "app.example.org:8080:GET:index:ok",
        "10.0.0.1:5432:app:bob:password",
        "machine learning login page password reset",
        "machine $HOST login $USER password $PASSWORD",
        "mysql -u root -p mydatabase",
        "mysqldump -pchangeme app",
        "docker login -u bob -p $TOKEN registry.example.org",
        "mkdir -p some/folder/Name2; mongo --help",
        "git commit -p Abc123xyz",
        '{"name": "password", "value": "required"}',
        '{"name": "max_tokens", "value": "4096"}',
        'variable "db_password" {\n  type = string\n  default = ""\n}',
        "upskill: Abc123xyz and more",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert SECRETS.scan(text) == []
