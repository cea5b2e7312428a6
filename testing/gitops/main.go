// Applies and deletes manifests as Flux's kustomize-controller does: with its library for server-side apply, drift detection, health checks by
// kstatus, and garbage collection.
//
//	gitops apply < manifests.yaml     prints each object with created, configured or unchanged, and waits until all are healthy
//	gitops delete < manifests.yaml    deletes in the foreground, and waits until all are gone
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/utils"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The names that kustomize-controller uses.
const (
	manager = "kustomize-controller"
	group   = "kustomize.toolkit.fluxcd.io"
)

const limit = time.Minute

func main() {
	log.SetLogger(logr.Discard())
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: gitops apply|delete < manifests.yaml")
	}
	objects, err := utils.ReadObjects(os.Stdin)
	if err != nil {
		return err
	}
	resources, err := connect()
	if err != nil {
		return err
	}
	resources.SetOwnerLabels(objects, "jit-rbac", "flux-system")
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	switch args[0] {
	case "apply":
		return apply(ctx, resources, objects)
	case "delete":
		return remove(ctx, resources, objects)
	default:
		return fmt.Errorf("unknown command %q", args[0])
	}
}

func connect() (*ssa.ResourceManager, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, http)
	if err != nil {
		return nil, err
	}
	kube, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(kube, mapper, polling.Options{})
	return ssa.NewResourceManager(kube, poller, ssa.Owner{Field: manager, Group: group}), nil
}

func apply(ctx context.Context, resources *ssa.ResourceManager, objects []*unstructured.Unstructured) error {
	changes, err := resources.ApplyAllStaged(ctx, objects, ssa.DefaultApplyOptions())
	if err != nil {
		return err
	}
	fmt.Println(changes)
	return resources.WaitForSetWithContext(ctx, changes.ToObjMetadataSet(), ssa.WaitOptions{Interval: time.Second, Timeout: limit, FailFast: true})
}

func remove(ctx context.Context, resources *ssa.ResourceManager, objects []*unstructured.Unstructured) error {
	options := ssa.DeleteOptions{PropagationPolicy: metav1.DeletePropagationForeground}
	changes, err := resources.DeleteAll(ctx, objects, options)
	if err != nil {
		return err
	}
	fmt.Println(changes)
	return resources.WaitForTermination(objects, ssa.WaitOptions{Interval: time.Second, Timeout: limit})
}
