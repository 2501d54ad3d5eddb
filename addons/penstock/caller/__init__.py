"""Who makes a call: workload, user, agent, session, local process, credential fingerprint.

Everything a caller says about itself is a claim, fit for reports and budgets; only what
the platform says (the workload's environment, the kernel's socket table) is more.
"""

from penstock.caller.identify import identify_caller
from penstock.caller.process import ProcessFinder
from penstock.caller.workload import workload_from

__all__ = ["ProcessFinder", "identify_caller", "workload_from"]
