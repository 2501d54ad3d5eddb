"""How languages, formats, commands and people assign: the value is found whichever way it is."""

from __future__ import annotations

import pytest

from penstock.detect import Detectors
from penstock.detect.stream import scanner

SECRETS = Detectors(["secret"])
PASSWORD = "Kq7vR2" + "mXw9"
TOKEN = "f3Zk9Qw7Lx2N" + "v8Bt4Rm6Yp1Hs5"
BASIC = "dXNlcjpLcTd2" + "UjJtWHc5"
# P stands for the password, T for the token, B for user and password in base64.
FORMS = [
    # languages
    "define('DB_PASSWORD', '<P>');",
    "'password' => '<P>',",
    "'api_token' => env('API_TOKEN', '<T>'),",
    "$this->apiKey = \"<T>\";",
    ':password => "<P>"',
    'ENV.fetch("DB_PASSWORD", "<P>")',
    'config.get("password", "<P>")',
    'auth=("admin", "<P>")',
    'requests.get(url, auth=HTTPBasicAuth("admin", "<P>"))',
    "password := \"<P>\"",
    'os.Setenv("DB_PASSWORD", "<P>")',
    "-Djavax.net.ssl.keyStorePassword=<P>",
    'DriverManager.getConnection("jdbc:mysql://h/db", "root", "<P>");',
    'public string Password { get; set; } = "<P>";',
    'new NetworkCredential("user", "<P>")',
    "Server=h;Database=d;User Id=u;Password=<P>;",
    'NSString *password = @"<P>";',
    'std::string api_key{"<T>"};',
    'const API_KEY: &str = "<T>";',
    'password <- "<P>"',
    "process.env.API_KEY = '<T>'",
    "const key = process.env.API_KEY || '<T>';",
    ':password "<P>"',
    # files
    "ENV DB_PASSWORD <P>",
    "ARG API_TOKEN=<T>",
    "set -x API_TOKEN <T>",
    "setenv DB_PASSWORD <P>",
    '<ns:Password Type="text"><P></ns:Password>',
    "<key>apiKey</key>\n  <string><T></string>",
    "<name>password</name><value><P></value>",
    '<property name="password" value="<P>"/>',
    'proxy_set_header Authorization "Basic <B>";',
    'headers.put("Authorization", "Basic <B>");',
    "host=h user=u password=<P> dbname=d",
    "jdbc:sqlserver://h;user=sa;password=<P>",
    "SET PASSWORD FOR 'bob'@'h' = '<P>';",
    "SET PASSWORD FOR 'bob'@'h' = PASSWORD('<P>');",
    "CREATE LOGIN bob WITH PASSWORD = N'<P>';",
    "snmp-server community <P> RO",
    # commands
    'ConvertTo-SecureString -String "<P>" -AsPlainText -Force',
    'gh secret set API_TOKEN --body "<T>"',
    "7z a -p<P> backup.7z",
    "zip -r -P <P> backup.zip .",
    "ldapsearch -x -D cn=admin -w <P>",
    r"net use Z: \\server\share /user:bob <P>",
    "htpasswd -b -c file bob <P>",
    'echo "root:<P>" | chpasswd',
    # people
    "**Password:** <P>",
    "**Password**: `<P>`",
    "| Password | <P> |",
    "Password – <P>",
    "I changed the password to <P>",
    "The password is now <P>",
    "log in as bob, password <P>",
    "here is my api key <T>",
]  # fmt: skip
LANGUAGES = [
    "contrasena=", "La contraseña es ", "mot de passe : ", "Le mot de passe est ", "motDePasse = ",
    "Das Passwort lautet ", "Kennwort ist ", "la password è ", "a senha é ", "palavra-passe: ",
    "wachtwoord: ", "haslo=", "hasło to ", "пароль — ", "Пароль: ", "密码是", "密碼: ", "密码：",
    "パスワードは", "暗証番号：", "비밀번호는 ", "sifre=", "şifre: ", "heslo: ", "jelszó: ",
    "salasana: ", "lösenord: ", "adgangskode: ", "passord: ", "κωδικός: ", "סיסמה: ",
    "كلمة المرور: ", "पासवर्ड: ", "รหัสผ่าน: ", "mật khẩu: ", "kata sandi: ", "parolă: ", "lozinka: ",
]  # fmt: skip


def filled(form: str) -> tuple[str, str]:
    value = PASSWORD if "<P>" in form else TOKEN if "<T>" in form else BASIC
    text = form.replace("<P>", PASSWORD).replace("<T>", TOKEN).replace("<B>", BASIC)
    return text, value


def covered(text: str) -> list[str]:
    return [text[f.start : f.end] for f in SECRETS.scan(text)]


@pytest.mark.parametrize("form", FORMS)
def test_the_value_is_found_and_nothing_else(form: str) -> None:
    text, value = filled(form)
    assert covered(text) == [value]


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_password_is_called_one_in_many_languages(name: str) -> None:
    assert covered(f"{name}{PASSWORD}") == [PASSWORD]


@pytest.mark.parametrize("form", [*FORMS, *(name + "<P>" for name in LANGUAGES)])
def test_a_stream_holds_it_back_whatever_it_is_cut_into(form: str) -> None:
    """Character by character: nothing of the value leaves before it is judged."""
    text, value = filled(form)
    reader = scanner(SECRETS, ["secret"], lambda finding, covered: "***")
    steps = [*(reader.feed(char) for char in text), reader.finish()]
    assert [text[r.start : r.end] for step in steps for r in step.replacements] == [value]


@pytest.mark.parametrize(
    "text",
    [
        "Pass to `suffix=` what the caller gave.",
        "The token is then sent to the server, the key is in column 3.",
        "| Key | Value |\n| --- | --- |\n| timeout | 30s |",
        "password - the password of the user (string, 8 to 64 characters)",
        "Set password to null. Pass in key2 as well; use token type 3.",
        "use the password manager",
        "key Backspace2 and key F12",
        "password SHA256 hashing, token Base64 encoding",
        "public string Password { get; set; } = string.Empty;",
        "ENV PASSWORD_FILE /run/secrets/Db1Password",
        "das Passwort ist falsch; la contraseña es incorrecta; 密码是必填项",
        'login("admin", "password")',
    ],
)
def test_sentences_and_code_about_secrets_are_left_alone(text: str) -> None:
    assert covered(text) == []
