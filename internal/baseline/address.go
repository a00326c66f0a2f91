package baseline

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// freeAddress gives back an address that an earlier attempt to make this very Service left taken: an API server takes
// the address first, and one that could not go on, because etcd or it itself stopped, leaves it for its repair loop,
// which lets a minute or more pass. It says whether there was one.
func freeAddress(ctx context.Context, client dynamic.Interface, service *unstructured.Unstructured, refused error) (bool, error) {
	address, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	if service.GetKind() != "Service" || address == "" || !apierrors.IsInvalid(refused) || !strings.Contains(refused.Error(), "already allocated") {
		return false, nil
	}
	if _, err := at(client, service).Get(ctx, service.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return false, err
	}
	addresses := client.Resource(netw.WithResource("ipaddresses"))
	taken, err := addresses.Get(ctx, address, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	parent, _, _ := unstructured.NestedStringMap(taken.Object, "spec", "parentRef")
	if parent["resource"] != "services" || parent["namespace"] != service.GetNamespace() || parent["name"] != service.GetName() {
		return false, nil // it is somebody else's
	}
	uid := taken.GetUID()
	err = addresses.Delete(ctx, address, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	return err == nil || apierrors.IsNotFound(err), err
}
