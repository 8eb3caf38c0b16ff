"""Scheduling: choose a node for each pod.

    kube-scheduler's word             file                                     function
    PodInfo, NodeInfo                 snapshot, requests                       read_pod, NodeInfo.set
    PreEnqueue, QueueSort             queue                                    SchedulingQueue.add, pop
    PreFilter, Filter                 filters,                                 one for each plugin,
                                      inter_pod_affinity, pod_topology_spread  pre_filter, filter
    PreScore, Score, NormalizeScore   scores, and the same two                 pre_score, score, normalize_score
    Reserve, Unreserve                cache                                    Cache.assume, forget
    Bind (DefaultBinder)              binder                                   Binder.bind
    profile, plugin                   profiles                                 choose
    scheduling and binding cycle      scheduler                                _schedule_one, _bind

Read in this order: `snapshot` and `requests` (what a scheduler sees), `filters` and `scores` (what it thinks of it),
`profiles` (which of these it uses), `plain` (one decision, simply); then `inter_pod_affinity` and
`pod_topology_spread`, `cache` and `queue` (what it must remember), `framework` (one decision, quickly), `binder` and
`scheduler` (the program: wait, find, bind), `explanation` (why), `extender` (the other door: let the real
kube-scheduler ask).

Left out, and refused with a sentence on the pod: persistent volumes (binding them is a second scheduler), devices
claimed by DynamicResourceAllocation, gangs of pods. Left out without a word: PostFilter, which is preemption (a pod
that fits nowhere waits), Permit, resizing in place, the default spreading of pods of one Service.
"""

from k8sext.scheduling.explanation import Explanation, explain
from k8sext.scheduling.profiles import FILTER_NAMES, KUBE, SCORE_NAMES, Profile, choose

__all__ = ["FILTER_NAMES", "KUBE", "SCORE_NAMES", "Explanation", "Profile", "choose", "explain"]
