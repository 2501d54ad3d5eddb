"""What conditions can ask of SQL, URLs and paths: certain, or no."""

from __future__ import annotations

import sqlite3
import time

import pytest

from penstock.policy.conditions import sql
from penstock.policy.conditions.compile import Condition, compile_condition, make_context
from penstock.policy.conditions.functions import path_within, url_host
from penstock.policy.conditions.sql import read_only

READS = [
    "SELECT 1",
    "SELECT a, count(*) FROM t WHERE x = 'it''s' GROUP BY a ORDER BY 2 DESC LIMIT 10;",
    "WITH x AS (SELECT * FROM t) SELECT x.* FROM x JOIN u ON x.id = u.id",
    "SELECT a FROM t UNION ALL SELECT b FROM u",
    "SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END, COALESCE(a, 0), UPPER(b) FROM t",
    "SELECT SUM(c) OVER (PARTITION BY d) FROM t WHERE e IN (SELECT id FROM u) AND f > 1",
    "SELECT '-- no comment', '; DROP TABLE t', 'delete from t' FROM t",
]
WRITES = [
    "SELECT 1; DROP TABLE t",
    "SELECT 1;; DELETE FROM t",
    "DROP TABLE t",
    "INSERT INTO t SELECT * FROM u",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
    "TRUNCATE TABLE t",
    "CREATE TABLE x AS SELECT * FROM t",
    "ALTER TABLE t ADD a INT",
    "GRANT ALL ON t TO mallory",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
    "WITH a AS (SELECT 1), b AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM a, b",
    "SELECT * INTO copy FROM t",
    "SELECT a FROM t INTO OUTFILE '/tmp/x'",
    "SELECT * FROM t FOR UPDATE",
    "SELECT pg_sleep(100)",
    "SELECT * FROM dblink('host=evil', 'drop table t')",
    "SELECT lo_export(1, '/etc/cron.d/x')",
    "SELECT setval('s', 1)",
    "SELECT nextval('s')",
    "SELECT load_file('/etc/passwd')",
    "SELECT * FROM OPENROWSET('a', 'b', 'c')",
    "SELECT query_to_xml('delete from t', true, true, '')",
    "SELECT my_schema.count(1)",
    "SELECT @a := 1",
    "EXPLAIN ANALYZE DELETE FROM t",
    "EXEC xp_cmdshell 'dir'",
    "CALL wipe()",
    "DO $$ BEGIN DELETE FROM t; END $$",
    "COPY t TO PROGRAM 'sh'",
    "PRAGMA writable_schema = 1",
    "ATTACH DATABASE '/tmp/x' AS x",
    "SET ROLE admin",
    "LOCK TABLE t",
    "BEGIN; SELECT 1; COMMIT",
    "VACUUM",
    # What lexers cut differently is not decided.
    "SELECT 1 -- ; DROP TABLE t",
    "SELECT 1 --; DROP TABLE t",
    "SELECT 1 /* harmless */",
    "SELECT 1 /*! ; DROP TABLE t */",
    "SELECT /*!50000 1 INTO OUTFILE '/tmp/x' */ FROM t",
    "SELECT 1 # ; DROP TABLE t",
    "SELECT '\\'; DROP TABLE t; SELECT '",
    "SELECT 'a' /* /* */ ; DROP TABLE t; -- */",
    "SELECT 1\0; DROP TABLE t",
    "SELECT $$a$$; DROP TABLE t",
    "SELECT 1 GO DROP TABLE t",
    "SELEKT 1",
    "",
    " ",
    ";",
    "SELECT " + "(" * 2000 + "1" + ")" * 2000,
    "SELECT 1 FROM t WHERE a = '" + "x" * sql.SQL_CHARACTERS_MAX + "'",
]


@pytest.mark.parametrize("text", READS)
def test_queries_are_read_only_in_every_dialect(text: str) -> None:
    """In each of the common ones, and where all of them have to agree."""
    assert read_only(text)
    assert all(read_only(text, dialect) for dialect in (*sql.COMMON, "snowflake", "duckdb"))


@pytest.mark.parametrize("text", WRITES, ids=lambda text: text[:40] or "empty")
def test_what_may_change_something_is_not(text: str) -> None:
    """Neither in a named dialect nor where none is named."""
    assert not read_only(text)
    assert not any(read_only(text, dialect) for dialect in sql.COMMON)


@pytest.mark.parametrize("value", [None, 7, ["SELECT 1"], {"sql": "SELECT 1"}, b"SELECT 1", True])
def test_only_texts_are_queries(value: object) -> None:
    assert not read_only(value)


def test_what_passes_changes_nothing_in_a_real_database() -> None:
    """SQLite, told to refuse every write, runs what it understands of it."""
    database = sqlite3.connect(":memory:")
    database.executescript("CREATE TABLE t(a, b, c, d, e, f, x, id); CREATE TABLE u(b, id);")
    database.execute("PRAGMA query_only = 1")
    ran = 0
    for text in READS + WRITES:
        if read_only(text, "sqlite"):
            database.execute(text)
            ran += 1
    assert ran >= len(READS)


def test_hostile_texts_take_bounded_time() -> None:
    """The largest text there may be, in the shapes parsers are slow at."""
    began = time.process_time()
    for piece in ("(", "((SELECT 1),", "a.", "CASE WHEN ", "NOT ", "1+", "SELECT * FROM (", "' "):
        assert not read_only("SELECT " + piece * (sql.SQL_CHARACTERS_MAX // len(piece) - 8) + "'")
    assert time.process_time() - began < 20


def test_a_statement_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The parser would repeat what it does not know."""
    assert not read_only("EXPLAIN SELECT 'canary7731'", "postgres")
    assert "canary7731" not in caplog.text


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://docs.example.com/a", "docs.example.com"),
        ("HTTPS://Docs.Example.COM:8443/a?b#c", "docs.example.com"),
        ("http://192.0.2.7/", "192.0.2.7"),
        ("https://[2001:db8::1]/", "2001:db8::1"),
        ("https://docs.example.com@evil.example/", ""),
        ("https://evil.example\\@docs.example.com/", ""),
        ("https://evil.example\t.docs.example.com/", ""),
        ("https:docs.example.com", ""),
        ("https:///docs.example.com", ""),
        ("//docs.example.com", ""),
        ("ftp://docs.example.com/", ""),
        ("file:///etc/passwd", ""),
        ("http://2130706433/", ""),
        ("http://0x7f.1/", ""),
        ("https://docs%2eexample.com/", ""),
        ("https://döcs.example.com/", ""),
        ("https://docs.example.com:99999/", ""),
        ("", ""),
        (None, ""),
        (["https://docs.example.com/"], ""),
    ],
)
def test_the_host_of_a_url_is_certain_or_empty(url: object, host: str) -> None:
    assert url_host(url) == host


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/srv/public/a.txt", True),
        ("/srv/public", True),
        ("//srv//public/./b/../a", True),
        ("/srv/public/%61.txt", True),
        ("/srv/public/../secret", False),
        ("/srv/publicity/a", False),
        ("/srv/public/%2e%2e/%2e%2e/etc", False),
        ("/srv/public/%252e%252e/%252e%252e/etc", False),
        ("/srv/public\\..\\..\\etc", False),
        ("srv/public/a", False),
        ("~/srv/public", False),
        ("/srv/public/\0", False),
        ("/SRV/public/a", False),
        ("", False),
        (None, False),
        (["/srv/public"], False),
    ],
)
def test_a_path_is_certainly_inside_or_not(path: object, inside: bool) -> None:
    assert path_within(path, "/srv/public") is inside


def test_conditions_call_them() -> None:
    """As written in a policy."""
    source = (
        'mcp.tool == "query" && !sql_read_only(args.sql, "postgres") || '
        'mcp.tool == "fetch" && url_host(args.url) != "docs.example.com" || '
        'mcp.tool == "read" && !path_within(args.path, "/srv")'
    )
    condition = compile_condition(source)
    assert isinstance(condition, Condition)

    def refuses(tool: str, **arguments: object) -> bool:
        return condition.holds(make_context({"mcp": {"tool": tool}, "args": arguments}.get))

    assert not refuses("query", sql="SELECT 1") and refuses("query", sql="DROP TABLE t")
    assert refuses("query", sql=7) and refuses("query", sql=None)
    assert not refuses("fetch", url="https://docs.example.com/") and refuses("fetch", url="x")
    assert not refuses("read", path="/srv/a") and refuses("read", path="/etc/passwd")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("!sql_readonly(args.sql)", "did you mean 'sql_read_only'"),
        ('!sql_read_only(args.sql, "klingon")', "no dialect of SQL is called 'klingon'"),
        ("urlhost(args.url) == 'a'", "did you mean 'url_host'"),
    ],
)
def test_misspelt_functions_are_load_errors(source: str, words: str) -> None:
    problems = compile_condition(source)
    assert isinstance(problems, list) and words in " ".join(problems)


def test_sql_needs_its_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package a rule that judges SQL does not load."""
    monkeypatch.setattr(sql, "find_spec", lambda _name: None)
    problems = compile_condition("!sql_read_only(args.sql)")
    assert isinstance(problems, list) and "penstock[sql]" in " ".join(problems)
