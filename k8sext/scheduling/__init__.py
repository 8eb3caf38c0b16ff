"""Scheduling: choose a node for each pod.

Read in this order: `demands` and `world` (what a scheduler sees), `filters`, `affinity`, `spread` and `scores` (what it thinks of it),
`profiles` (which of these it uses), `finder` (one decision), `cache` and `queue` (what it must remember), `binder` and `scheduler` (the
program: wait, find, bind), `explanation` (why), `extender` (the other door: let the real kube-scheduler ask).

Left out, and refused with a sentence on the pod: persistent volumes (binding them is a second scheduler), devices claimed by
DynamicResourceAllocation, gangs of pods. Left out without a word: preemption (a pod that fits nowhere waits), resizing in place, the
default spreading of pods of one Service.
"""

from k8sext.scheduling.explanation import Explanation, explain
from k8sext.scheduling.profiles import FILTER_NAMES, KUBE, SCORE_NAMES, Profile, choose

__all__ = ["FILTER_NAMES", "KUBE", "SCORE_NAMES", "Explanation", "Profile", "choose", "explain"]
