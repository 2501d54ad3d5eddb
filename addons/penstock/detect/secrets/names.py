"""What a name promises: is ``DB_PASSWORD`` a password, ``apiKey`` a key, ``keyboard`` nothing.

Names come from code, configuration, command lines and prose. Pure string work on at most
``NAME_CHARACTERS_MAX`` characters.
"""

from __future__ import annotations

import re
from functools import lru_cache

from penstock.detect.secrets.randomness import letter_runs, word_share
from penstock.detect.secrets.values import Promise, words

# A longer run of name characters is a sentence or a blob.
NAME_CHARACTERS_MAX = 80
# A long name is made of words; one that is not is the middle of a blob.
NAME_WORD_SHARE_MIN = 0.4

PASSWORD_WORDS = (
    "password", "passwords", "passwd", "passwrd", "pwd", "pass", "pw", "passphrase", "passcode",
    "passin", "passout", "passwort", "psswrd", "psword", "paswrd", "paswd", "pswd", "userpwd",
    "psk", "securestring", "kennwort", "passord", "passe", "mdp", "contraseña", "contrasena",
    "contrasenya", "clave", "senha", "parola", "parolă", "parole", "parool", "hasło", "haslo",
    "wachtwoord", "lösenord", "losenord", "adgangskode", "kodeord", "salasana", "heslo", "jelszó",
    "jelszo", "lozinka", "geslo", "slaptažodis", "slaptazodis", "şifre", "sifre", "sandi",
    "mật khẩu", "matkhau", "пароль", "пароля", "паролем", "парола", "лозинка", "κωδικός",
    "κωδικός πρόσβασης", "συνθηματικό", "סיסמה", "סיסמא", "كلمة المرور", "كلمة السر", "رمز عبور",
    "पासवर्ड", "পাসওয়ার্ড", "รหัสผ่าน", "密码", "密碼", "口令", "パスワード", "暗証番号", "비번",
    "비밀번호", "암호",
)  # fmt: skip
# Short ones mean other things in the middle of a name: pass_through, pw_gecos.
_SHORT = ("pass", "pw", "clave", "passe", "sandi", "parole")
_LONG_PASSWORD_WORDS = tuple(word for word in PASSWORD_WORDS if word not in _SHORT)
SECRET_WORDS = (
    "secret", "secrets", "secrete", "token", "credential", "credentials", "cred", "creds", "jwt",
    "bearer", "cookie", "sessionid", "csrf", "authtoken", "accesskey", "secretkey", "privatekey",
    "apikey", "passkey", "authkey", "clientsecret", "jeton", "geheimnis", "segreto",
    "токен", "секрет", "令牌", "トークン", "シークレット", "토큰", "시크릿",
)  # fmt: skip
KEY_WORDS = (
    "key", "auth", "authorization", "authentication", "salt", "nonce", "hmac", "seed",
    "schlüssel", "schluessel", "sleutel", "chiave", "chave", "llave", "klucz", "anahtar",
    "ключ", "密钥", "密鑰", "秘钥", "金鑰", "인증키",
)  # fmt: skip

_PROMISES: tuple[tuple[tuple[str, ...], Promise], ...] = (
    (PASSWORD_WORDS, "password"), (SECRET_WORDS, "secret"), (KEY_WORDS, "key")
)  # fmt: skip
_FOREIGN = [(w, promise) for words_, promise in _PROMISES for w in words_ if not w.isascii()]

# Words that only end like a promise.
_NOT_A_PROMISE = words(
    "monkey donkey turkey hockey jockey whiskey hotkey keyboard keyword bypass compass surpass "
    "encompass trespass overpass passenger passage passive passed passing author authors "
    "foreignkey primarykey sortkey keyframe keypress tokenizer tokenize publickey pubkey "
    "partitionkey groupkey mapkey hashkey cachekey"
)
# A name that speaks about a secret without being one.
_ABOUT = words(
    "public id ids name names url uri path file filename dir folder type types len length count "
    "counts size field fields index format algorithm alg provider store expires expiry expiration "
    "ttl timeout header headers prefix suffix regex pattern label title class map limit limits "
    "endpoint version hash sha sha1 sha256 sha512 md5 checksum digest fingerprint integrity commit "
    "ref rev revision max min total num number usage policy mode status enabled required hint rule "
    "rules error errors message msg text placeholder primary foreign sort partition cache group "
    "lookup arn alias column table row bucket object resource image images vault uuid guid etag "
    "request continuation next page change idempotency pagination cursor encode decode strip "
    "lower upper split join replace "
    "instance node host domain port address kind ssh-rsa module package namespace xmlns"
)

# Anywhere in the name, these say the value is shared on purpose.
_PUBLIC = words("public publishable request continuation next page change idempotency pagination")


@lru_cache(maxsize=4096)
def promise_of(name: str) -> Promise | None:
    """What a value with this name would be, or None when the name promises nothing.

    Cached: texts use few names, and the cache holds names only, never values.
    """
    pieces = _pieces(name)
    if not pieces:
        return None
    last = pieces[-1]
    joined = "".join(pieces)
    if last in _ABOUT or _PUBLIC.intersection(pieces) or joined in _NOT_A_PROMISE:
        return None
    own = name.rpartition(".")[2]  # process.env.API_KEY: the rest says where it stands
    if len(own) >= 16 and word_share(own) < NAME_WORD_SHARE_MIN:
        return None
    if not name.isascii():
        foreign = _foreign(name.lower())
        if foreign is not None:
            return foreign
    if any(_is_one(piece, _LONG_PASSWORD_WORDS) for piece in pieces) or last in PASSWORD_WORDS:
        return "password"
    if "securestring" in joined or (last[-4:] == "pass" and last not in _NOT_A_PROMISE):
        return "password"
    if any(_is_one(piece, SECRET_WORDS) for piece in pieces) or "apikey" in joined:
        return "secret"
    if any(pair in joined for pair in ("accesskey", "secretkey", "privatekey", "accountkey")):
        return "secret"
    if any(_is_one(piece, KEY_WORDS) for piece in pieces):
        return "key"
    return None


def _foreign(low: str) -> Promise | None:
    """Words of other scripts: not every one of them parts its words, and some take endings."""
    return next((promise for word, promise in _FOREIGN if word in low), None)


def about_something_else(name: str) -> bool:
    """True when the name's last word says it is an identifier, hash, path or the like."""
    pieces = _pieces(name)
    return bool(pieces) and (pieces[-1] in _ABOUT or bool(_PUBLIC.intersection(pieces)))


def _pieces(name: str) -> list[str]:
    pieces: list[str] = []
    for part in re.split(r"[^\w]+|_+", name):
        if part.isascii():
            pieces += [run.lower() for run in letter_runs(part)]
        elif part:
            pieces.append(part.lower())
    return pieces


def _is_one(piece: str, words: tuple[str, ...]) -> bool:
    if piece in words:
        return True
    if piece in _NOT_A_PROMISE or len(piece) < 5:
        return False
    return any(
        len(word) >= 4 and (piece.endswith(word) or piece.startswith(word)) for word in words
    ) or (piece.endswith("key") and len(piece) <= 12 and "key" in words)
