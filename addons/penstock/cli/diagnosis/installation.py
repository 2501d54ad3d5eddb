"""What lies on disk: the state directory, the CA, the policies, the audit log."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock.cli.diagnosis import Check, Status

# Long enough to notice before clients do.
EXPIRY_NOTICE = timedelta(days=45)


def check_state_directory(state: Path) -> Check:
    """Whether the state directory can be written and is nobody else's business."""
    if not state.exists():
        parent = next(one for one in state.absolute().parents if one.exists())
        if os.access(parent, os.W_OK):
            return Check("state", "directory", "ok", f"{state} will be made at the first start")
        return Check(
            "state",
            "directory",
            "broken",
            f"{state} does not exist and {parent} cannot be written",
            "give a writable --state-dir or PENSTOCK_STATE_DIR",
        )
    if not state.is_dir() or not os.access(state, os.W_OK | os.X_OK):
        mend = f"make it yours (chown {os.getuid()} {state}) or give another --state-dir"
        return Check("state", "directory", "broken", f"{state} cannot be written", mend)
    return Check("state", "directory", "ok", f"{state} is writable")


def check_authority(state: Path) -> list[Check]:
    """The CA's certificate, its key's protection, and the bundle clients are pointed at."""
    from cryptography import x509

    file, bundle, key = state / "ca.pem", state / "ca-bundle.pem", state / "ca-key.pem"
    if not file.exists():
        return [Check("trust", "CA", "ok", "none yet; made at the first start")]
    renew = f"stop penstock, remove {key} and start again; clients read the new files"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, OSError, x509.ExtensionNotFound) as error:
        return [Check("trust", "CA", "broken", f"{file}: {error}", renew)]
    checks = []
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if not usage.key_cert_sign:
        checks.append(Check("trust", "CA", "broken", f"{file} may not sign certificates", renew))
    elif left < EXPIRY_NOTICE:
        status: Status = "broken" if left < timedelta(0) else "note"
        ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        checks.append(Check("trust", "CA", status, f"{file} ends on {ends}", renew))
    else:
        ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        checks.append(Check("trust", "CA", "ok", f"{file}, valid until {ends}"))
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        found = f"{key} can be read by others"
        checks.append(Check("trust", "CA key", "broken", found, f"chmod 600 {key}"))
    checks.append(_check_bundle(bundle, file.read_bytes()))
    return checks


def check_policies(policies: Sequence[Path]) -> list[Check]:
    """Whether each policy loads; the problems with file and line as `penstock check` says them."""
    from penstock.policy.language.encoders import described
    from penstock.policy.language.load import load
    from penstock.policy.language.problem import ConfigError
    from penstock.policy.language.shipped import resolve

    title = ", ".join(str(one) for one in policies) or "default (shipped)"
    try:
        policy = load(resolve(policies))
    except ConfigError as error:
        mend = "mend the policy; `penstock check FILE` says the same"
        return [Check("policy", title, "broken", str(error), mend)]
    found = f"{policy.name}: {len(policy.rules)} rules, mode {policy.mode}"
    loaded = [Check("policy", "encoder", "ok", described(one)) for one in policy.encoders]
    return [Check("policy", title, "ok", found), *loaded]


def check_containment(state: Path) -> Check:
    """Whether an order to contain holds, and whether every process does as the newest one says."""
    from penstock.policy.containment import read_order
    from penstock.record.line import timestamp
    from penstock.record.running import running

    try:
        order, processes = read_order(state), running(state)
    except PermissionError as error:
        mend = "ask as the user penstock runs as"
        return Check("policy", "containment", "note", f"{error.filename}: not readable", mend)
    except (OSError, ValueError) as error:
        mend = "nothing leaves until it is replaced: penstock contain, or --release"
        return Check("policy", "containment", "broken", str(error), mend)
    newest = order.id if order else None
    behind = [one for one in processes if one.problem or one.order != newest]
    if behind:
        names = ", ".join(f"process {one.pid or '?'}" for one in behind)
        found = f"{names} does not follow the newest order"
        return Check("policy", "containment", "broken", found, "penstock contain --status")
    if order is None or not order.holds(time.time()):
        return Check("policy", "containment", "ok", "not contained")
    why = f": {order.reason}" if order.reason else ""
    found = f"contained since {timestamp(order.time)} by {order.by}{why}"
    return Check("policy", "containment", "note", found, "penstock contain --release ends it")


def check_audit(state: Path) -> list[Check]:
    """Whether the audit log is whole."""
    from penstock.record.verify import verify

    file = state / "audit.jsonl"
    if not file.exists():
        return [Check("record", "audit log", "ok", "none yet; made at the first start")]
    try:
        report = verify([file])
    except OSError as error:
        mend = "give the file back to the user penstock runs as"
        return [Check("record", "audit log", "broken", str(error), mend)]
    if report.whole:
        return [Check("record", "audit log", "ok", f"{file}: {report.lines} lines, whole")]
    first = report.problems[0]
    mend = "`penstock audit verify` lists every place; keep the file, it is evidence"
    found = f"{first.file}:{first.line}: {first.message}"
    return [Check("record", "audit log", "broken", found, mend)]


def _check_bundle(bundle: Path, certificate: bytes) -> Check:
    mend = "start `penstock run` once: it writes the bundle anew"
    try:
        content = bundle.read_bytes()
    except OSError as error:
        return Check("trust", "bundle", "broken", str(error), mend)
    if certificate.strip() not in content:
        return Check("trust", "bundle", "broken", f"{bundle} does not hold the CA", mend)
    count = content.count(b"-----BEGIN CERTIFICATE-----")
    return Check("trust", "bundle", "ok", f"{bundle}: public roots and the CA ({count} in all)")
