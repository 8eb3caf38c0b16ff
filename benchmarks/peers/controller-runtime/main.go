// The weather controller with controller-runtime, for comparison: for every WeatherReport a pod and a status, nothing else.
// What it does is what k8sext.operators does for a new report; its client limits are lifted and it has 16 workers.
package main

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

var kind = schema.GroupVersionKind{Group: "k8s.packt.com", Version: "v1", Kind: "WeatherReport"}

type reconciler struct{ client.Client }

func newReport() *unstructured.Unstructured {
	report := &unstructured.Unstructured{}
	report.SetGroupVersionKind(kind)
	return report
}

// Reconcile writes the status of a report and creates its pod, unless both are as they ought to be.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	report := newReport()
	if err := r.Get(ctx, request.NamespacedName, report); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	name := fmt.Sprintf("%s-%d", report.GetName(), report.GetGeneration())
	if err := r.writeStatus(ctx, report, name); err != nil {
		return ctrl.Result{}, err
	}
	pod := &corev1.Pod{}
	err := r.Get(ctx, client.ObjectKey{Namespace: report.GetNamespace(), Name: name}, pod)
	if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, client.IgnoreAlreadyExists(r.Create(ctx, collector(report, name)))
}

func (r *reconciler) writeStatus(ctx context.Context, report *unstructured.Unstructured, pod string) error {
	observed, _, _ := unstructured.NestedInt64(report.Object, "status", "observedGeneration")
	if observed == report.GetGeneration() {
		return nil
	}
	before := report.DeepCopy()
	report.Object["status"] = map[string]any{
		"state":              "Collecting",
		"pod":                pod,
		"observedGeneration": report.GetGeneration(),
		"conditions": []any{map[string]any{
			"type":               "Ready",
			"status":             "False",
			"reason":             "Collecting",
			"message":            "Pod " + pod + " collects the weather.",
			"lastTransitionTime": metav1.Now().UTC().Format("2006-01-02T15:04:05Z"),
			"observedGeneration": report.GetGeneration(),
		}},
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return r.Status().Patch(ctx, report, patch)
}

func collector(report *unstructured.Unstructured, name string) *corev1.Pod {
	seconds, grace := int64(300), int64(2)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            name,
			Namespace:       report.GetNamespace(),
			Labels:          map[string]string{"app.kubernetes.io/managed-by": "k8s-operator-example"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(report, kind)},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:            "weather-collector",
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         &seconds,
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name:                     "collect",
				Image:                    "localhost/k8sext:0.1.0",
				Command:                  []string{"python", "-m", "k8sext.operators.collect"},
				Env:                      []corev1.EnvVar{{Name: "REPORT", Value: report.GetName()}},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
}

func main() {
	log.SetLogger(zap.New())
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		Client:  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).
		For(newReport()).
		Owns(&corev1.Pod{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
