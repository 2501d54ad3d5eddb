"""Does a text of SQL only read? Answered by a real parser, and no where it cannot tell.

Everything in the statement has to be on the lists below: one query, and in it only parts and
functions that are known to change nothing. Functions nobody here knows may do anything, so
they count as writing. What a lexer of another dialect or setting would cut differently
(comments, backslashes) is not decided either: that is how a second statement hides.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from typing import Any

# A query for a person or a report is shorter. Parsing costs some 3 µs a character and dialect; the
# slowest text of this length takes a tenth of a second.
SQL_CHARACTERS_MAX = 4_000
# Deeper brackets are no honest query, and the parser goes down once for each.
BRACKETS_MAX = 50

# What a query may be made of. Everything else of the parser's vocabulary (Insert, Into, Lock,
# Command, Pragma, Anonymous ...) makes it a statement that may change something.
_PARTS = """
Select Union Intersect Except Subquery Values Tuple With CTE TableAlias Table Column Identifier
Star Alias Aliases From Join Where Group Having Qualify Order Ordered Limit Offset Fetch Distinct
Window WindowSpec Lateral Unnest Paren Bracket Slice Array Interval Var Literal National Boolean
Null Cast TryCast Case If DataType DataTypeParam Parameter Placeholder JSONPath JSONPathRoot
JSONPathKey JSONPathSubscript JSONPathWildcard And Or Xor Not Is In Between EQ NEQ NullSafeEQ
NullSafeNEQ GT GTE LT LTE Like ILike SimilarTo RegexpLike RegexpILike Escape Exists Any All Add
Sub Mul Div Mod IntDiv Neg DPipe BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Concat ConcatWs
AtTimeZone Collate Filter WithinGroup IgnoreNulls RespectNulls GroupingSets Cube Rollup
JSONExtract JSONExtractScalar JSONBExtract JSONBExtractScalar ArrayContainsAll
"""
# Functions of values. Aggregates are known to the parser as such.
_FUNCTIONS = """
Abs Acos Asin Atan Atan2 Cbrt Ceil Cos Cot Degrees Exp Floor Ln Log Pi Pow Radians Round Sign Sin
Sqrt Tan Trunc Coalesce Nullif Greatest Least Lower Upper Initcap Trim Left Right Length
ByteLength BitLength Substring SubstringIndex StrPosition Replace Reverse Repeat Pad Ascii Chr
Concat ConcatWs Split SplitPart StartsWith EndsWith Contains Hex Unhex MD5 SHA SHA2 ToBase64
FromBase64 RegexpExtract RegexpReplace RegexpSplit CurrentDate CurrentTime CurrentTimestamp
CurrentDatetime Date DateAdd DateSub DateDiff DateTrunc Datetime DatetimeAdd DatetimeDiff
DatetimeSub DatetimeTrunc Day DayOfMonth DayOfWeek DayOfYear Extract Hour LastDay Minute Month
Quarter Second Time TimeToStr StrToTime StrToDate Timestamp TimestampAdd TimestampDiff
TimestampSub TimestampTrunc TsOrDsAdd TsOrDsDiff TsOrDsToDate TsOrDsToTimestamp
TsOrDsToDatetime UnixToTime TimeToUnix Week WeekOfYear Year ToChar ToNumber Rank DenseRank
RowNumber Ntile PercentRank CumeDist Lag Lead FirstValue LastValue NthValue ArraySize
ArrayContains GenerateSeries ExplodingGenerateSeries JSONObject JSONArray JSONFormat ParseJSON
JSONKeys JSONType JSONArrayContains Grouping GroupingId GroupConcat NumberToStr
"""
# Aggregates of some dialects that run something else than a sum.
_NOT_AGGREGATES = "AIAgg AISummarizeAgg AnonymousAggFunc CombinedAggFunc Predict"
# Where a rule names no dialect, each of these has to agree.
COMMON = ("postgres", "mysql", "sqlite", "tsql")


def problem() -> str | None:
    """Why SQL cannot be judged here, None when it can."""
    if find_spec("sqlglot") is None:
        return "judging SQL needs the package sqlglot: install penstock[sql]"
    return None


def read_only(text: object, dialect: str = "") -> bool:
    """True when ``text`` is one query that changes nothing, in ``dialect`` or in all common ones.

    What is not certain is False; so is everything in a dialect the parser does not have.
    """
    if not isinstance(text, str) or not 0 < len(text) <= SQL_CHARACTERS_MAX:
        return False
    if dialect and not known(dialect):
        return False
    if any(mark in text for mark in ("\\", "\0")) or text.count("(") > BRACKETS_MAX:
        return False
    return all(_reads(text, one) for one in ([dialect] if dialect else COMMON))


def known(dialect: str) -> bool:
    """True for a dialect the parser has."""
    return bool(dialect) and _parser().Dialect.get(dialect) is not None


def _reads(text: str, dialect: str) -> bool:
    parser = _parser()
    chosen = parser.Dialect.get_or_raise(dialect)
    try:
        tokens = chosen.tokenize(text)
        if any(token.comments for token in tokens) or _comment_only(text, tokens):
            return False
        statements = chosen.parser(error_level=parser.ErrorLevel.RAISE).parse(tokens, text)
    except (parser.errors.SqlglotError, RecursionError, ValueError, TypeError, KeyError):
        return False
    except (AttributeError, IndexError, AssertionError):  # the parser met what it did not expect
        return False
    if len(statements) != 1 or not isinstance(statements[0], parser.exp.Query):
        return False
    allowed, aggregate, not_aggregates = _vocabulary()
    for node in statements[0].walk():
        kind = type(node)
        if kind not in allowed and (not issubclass(kind, aggregate) or kind in not_aggregates):
            return False
    return True


def _comment_only(text: str, tokens: list[Any]) -> bool:
    """True where characters after the last token are no space: a comment nobody attached."""
    end = tokens[-1].end + 1 if tokens else 0
    return bool(text[end:].strip())


@cache
def _parser() -> Any:
    import sqlglot

    # It logs the statement it does not know, and statements hold personal data.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL + 1)
    return sqlglot


@cache
def _vocabulary() -> tuple[frozenset[type], type, frozenset[type]]:
    """The allowed classes, the class of aggregates, and those of them that are none."""
    exp = _parser().exp

    def classes(names: str) -> frozenset[type]:
        found = (getattr(exp, name, None) for name in names.split())
        return frozenset(one for one in found if isinstance(one, type))

    return classes(_PARTS) | classes(_FUNCTIONS), exp.AggFunc, classes(_NOT_AGGREGATES)
