"""The workload from a pod's environment."""

from __future__ import annotations

from penstock.caller.workload import workload_from
from penstock.exchange import Workload


def test_the_downward_api_variables_make_a_workload() -> None:
    """Each variable fills its field; labels come as pairs."""
    found = workload_from(
        {
            "PENSTOCK_WORKLOAD": "checkout",
            "PENSTOCK_NAMESPACE": "prod",
            "PENSTOCK_POD": "checkout-7d9-abc",
            "PENSTOCK_SERVICE_ACCOUNT": "checkout",
            "PENSTOCK_NODE": "node-3",
            "PENSTOCK_LABELS": "app=checkout,team=payments",
        }
    )
    assert found == Workload(
        "checkout",
        "prod",
        "checkout-7d9-abc",
        "checkout",
        "node-3",
        {"app": "checkout", "team": "payments"},
    )


def test_absent_and_empty_variables_are_unknown() -> None:
    """Outside a pod nothing is known, and an empty variable says nothing."""
    assert workload_from({}) == Workload()
    assert workload_from({"PENSTOCK_POD": "  "}) == Workload()


def test_labels_in_the_form_of_a_downward_api_volume() -> None:
    """One ``name="value"`` a line, as Kubernetes writes them; broken lines are left out."""
    text = 'app="web"\npod-template-hash="7d9"\nnonsense\n=x\n' + "l" * 400 + "=1"
    assert workload_from({"PENSTOCK_LABELS": text}).labels == {
        "app": "web",
        "pod-template-hash": "7d9",
    }


def test_labels_are_bounded() -> None:
    """A flood of labels does not swell each Record."""
    text = ",".join(f"l{number}=x" for number in range(1000))
    assert len(workload_from({"PENSTOCK_LABELS": text}).labels) == 64
