// Package netpol is the NetworkPolicy part of Kubernetes' own end-to-end suite, and nothing else of it.
package netpol

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"k8s.io/component-base/logs"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	e2enode "k8s.io/kubernetes/test/e2e/framework/node"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init" // waits for nodes
	_ "k8s.io/kubernetes/test/e2e/network/netpol"
	"k8s.io/kubernetes/test/utils/image"
)

func TestMain(m *testing.M) {
	name := flag.Bool("image", false, "print the name of the one image that the tests run, and end")
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	if *name {
		fmt.Println(image.GetE2EImage(image.Agnhost))
		return
	}
	framework.RunID = "netpol" // the label e2e-run of its namespaces, which the cluster's file declares open
	framework.AfterReadingAllFlags(&framework.TestContext)
	os.Exit(m.Run())
}

var _ = ginkgo.BeforeSuite(func(ctx context.Context) {
	client, err := framework.LoadClientset()
	framework.ExpectNoError(err, "find the cluster")
	framework.ExpectNoError(e2enode.WaitForAllNodesSchedulable(ctx, client, framework.NewTimeoutContext().NodeSchedulable))
	framework.TestContext.IPFamily = "ipv4"
})

func TestNetpol(t *testing.T) {
	logs.InitLogs()
	defer logs.FlushLogs()
	gomega.RegisterFailHandler(framework.Fail)
	suite, reporter := framework.CreateGinkgoConfig()
	ginkgo.RunSpecs(t, "NetworkPolicy", suite, reporter)
}
