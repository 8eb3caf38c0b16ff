"""The weather operator: whoever creates a WeatherReport gets the weather, collected by a pod.

Read in this order; on the left is what sample-controller and controller-runtime call it:

    desired state, actual state    plan.plan: a report and its pods to a Plan, without a single request
    writes to the API server       reconcile.reconcile: carries a Plan out
    Reconcile, informers, queue    controller.Controller, by hand; its loop and contract: kube.controller
    the same in a framework        kopf_operator.bring_about, with kopf
    the program in the pod         collect.collect
    the manager                    __main__.run: flags, probes, metrics, leader election
    scaffolding                    scaffold.write: a project for an operator of your own, from the templates in project/

There is no finalizer: a report leaves nothing behind but its pods, and those carry an owner reference, so that
Kubernetes' own garbage collector removes them. (kopf sets one for its timers.) Left out: following pods in other
clusters, and keeping old reports.
"""
