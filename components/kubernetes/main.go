// Command kubernetes is every Kubernetes component of a machine in one binary: it runs the one it is called as.
// One binary compiles and links once, and its code is in memory once however many components a host runs.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	_ "time/tzdata" // CronJob time zones

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/pkg/kubeapiserver/options"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	if name == "kubectl" {
		runKubectl()
		return
	}
	policiesFirst()
	component, ok := components[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: not a Kubernetes component; call this binary as kubectl, kubelet, kube-apiserver, …\n", name)
		os.Exit(64)
	}
	os.Exit(cli.Run(component()))
}

// policiesFirst has admission policies speak before Pod Security does. Both must let a pod pass, but the first of the two that does
// not is who the user hears, and a policy can say which class of pods would be allowed, and who may grant it.
func policiesFirst() {
	const podSecurity, policy = "PodSecurity", "ValidatingAdmissionPolicy"
	order := options.AllOrderedPlugins
	from, to := slices.Index(order, podSecurity), slices.Index(order, policy)
	if from < 0 || to < from {
		return
	}
	copy(order[from:], order[from+1:to+1])
	order[to] = podSecurity
}

func runKubectl() {
	// Verbosity is needed while the command is built: plug-ins and .kuberc are read then.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
