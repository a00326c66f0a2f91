package bundle

import "fmt"

// Component is one upstream project of a bundle: where its version is pinned and how it is built.
type Component struct {
	Name   string
	Dir    string // of the go.mod that pins it, below the source
	Module string // whose version is the component's

	Packages []string // main packages, built with the Go tool
	Tags     string
	CGO      bool
	LDFlags  string // @version@ stands for the component's version

	CSource string // instead of Packages: a C file of Module, linked statically

	Local bool   // Module is the source itself: the version is the digest of what was built
	Needs string // what a failed build is told to look for on the host

	Outputs []Output
	Image   *Recipe
}

// Output is a file that the build makes. Paths are its names in the bundle, all links to one file;
// with none it is only put into the component's image.
type Output struct {
	Built string // as the Go tool names it
	Paths []string
}

// Recipe is a container image of one static binary.
type Recipe struct {
	Name     string // images/<Name>.tar, and ashlar.dev/<Name>:<Tag>
	Tag      string // default: the component's version
	Binary   string // an Output's Built; becomes /<Binary>, the entry point
	User     string // numeric, so that kubelet can tell that it is not root
	Args     []string
	Skeleton bool // a small filesystem around the binary: /tmp, /etc/passwd, /etc/group
	Lazily   bool // not needed by a cluster's baseline: imported when first wanted
}

const (
	strip      = "-s -w"
	kubeString = "k8s.io/component-base/version"
)

// Components are all of a bundle, those that take longest to build first. Kubernetes' components are one multi-call
// binary: one link instead of six, and its code is in memory once. agnhost follows last, as most of it is then compiled.
func Components() []Component {
	return []Component{
		{
			Name: "kubernetes", Dir: "components/kubernetes", Module: "k8s.io/kubernetes", Packages: []string{"."},
			LDFlags: fmt.Sprintf("%[1]s -X %[2]s.gitVersion=@version@ -X %[2]s.gitMajor=@major@ -X %[2]s.gitMinor=@minor@ -X %[2]s.gitTreeState=clean", strip, kubeString),
			Outputs: []Output{{"kubernetes", []string{"bin/kube-apiserver", "bin/kube-controller-manager", "bin/kube-scheduler", "bin/kubelet", "bin/kube-proxy", "bin/kubectl"}}},
		},
		{
			// minimal: without the plug-ins of databases and clouds, a third of the size. Its main adds the one login that is used.
			Name: "vault", Dir: "components/vault", Module: "github.com/hashicorp/vault", Packages: []string{"."},
			Tags: "minimal", LDFlags: strip,
			Outputs: in("bin", "vault"),
		},
		{
			// The operator's: no machine is given it.
			Name: "opentofu", Dir: "components/opentofu", Module: "github.com/opentofu/opentofu", Packages: []string{"github.com/opentofu/opentofu/cmd/tofu"},
			LDFlags: strip + " -X github.com/opentofu/opentofu/version.dev=no",
			Outputs: in("bin", "tofu"),
		},
		{
			Name: "calico", Dir: "components/calico", Module: "github.com/projectcalico/calico", LDFlags: strip,
			Packages: below("github.com/projectcalico/calico/", "node/cmd/calico-node", "cni-plugin/cmd/calico", "kube-controllers/cmd/kube-controllers", "calicoctl/calicoctl"),
			Outputs:  append(in("bin", "calico-node", "kube-controllers", "calicoctl"), Output{"calico", []string{"cni/calico", "cni/calico-ipam"}}),
		},
		{
			Name: "coredns", Dir: "components/coredns", Module: "github.com/coredns/coredns", Packages: []string{"github.com/coredns/coredns"}, LDFlags: strip,
			Outputs: []Output{{Built: "coredns", Paths: []string{"bin/coredns"}}},
			Image:   &Recipe{Name: "coredns", Binary: "coredns", User: "65532:65532"},
		},
		{
			Name: "containerd", Dir: "components/containerd", Module: "github.com/containerd/containerd/v2", LDFlags: strip,
			Packages: below("github.com/containerd/containerd/v2/cmd/", "containerd", "containerd-shim-runc-v2", "ctr"),
			Outputs:  in("bin", "containerd", "containerd-shim-runc-v2", "ctr"),
		},
		{
			Name: "etcd", Dir: "components/etcd", Module: "go.etcd.io/etcd/server/v3", LDFlags: strip,
			Packages: below("go.etcd.io/etcd/", "server/v3", "etcdctl/v3", "etcdutl/v3"),
			Outputs:  append(in("bin", "etcdctl", "etcdutl"), Output{"server", []string{"bin/etcd"}}),
		},
		{
			Name: "cni", Dir: "components/cni", Module: "github.com/containernetworking/plugins", LDFlags: strip,
			Packages: below("github.com/containernetworking/plugins/plugins/", "main/loopback", "main/bridge", "main/ptp", "meta/portmap", "meta/bandwidth", "meta/tuning", "ipam/host-local"),
			Outputs:  in("cni", "loopback", "bridge", "ptp", "portmap", "bandwidth", "tuning", "host-local"),
		},
		{
			Name: "runc", Dir: "components/runc", Module: "github.com/opencontainers/runc", Packages: []string{"github.com/opencontainers/runc"},
			Tags: "seccomp", CGO: true, LDFlags: strip, Needs: "gcc and libseccomp-dev",
			Outputs: in("bin", "runc"),
		},
		{
			Name: "pause", Dir: "components/kubernetes", Module: "k8s.io/kubernetes", CSource: "build/pause/linux/pause.c", Needs: "gcc and libc6-dev",
			Outputs: []Output{{Built: "pause"}},
			Image:   &Recipe{Name: "pause", Tag: "3.10", Binary: "pause", User: "65535:65535"},
		},
		{
			Name: "ashlar", Dir: ".", Module: "ashlar.dev/ashlar", Local: true, Packages: []string{"./cmd/ashlar", "./cmd/ashlar-init"}, LDFlags: strip,
			Outputs: in("bin", "ashlar", "ashlar-init"),
			Image:   &Recipe{Name: "ashlar", Binary: "ashlar", Skeleton: true, Lazily: true},
		},
		{
			Name: "agnhost", Dir: "components/kubernetes", Module: "k8s.io/kubernetes", Packages: []string{"k8s.io/kubernetes/test/images/agnhost"}, LDFlags: strip,
			Outputs: []Output{{Built: "agnhost"}},
			Image:   &Recipe{Name: "agnhost", Binary: "agnhost", Args: []string{"pause"}, Skeleton: true, Lazily: true},
		},
	}
}

// in puts each output into a directory of the bundle under its own name.
func in(dir string, built ...string) []Output {
	var outputs []Output
	for _, b := range built {
		outputs = append(outputs, Output{b, []string{dir + "/" + b}})
	}
	return outputs
}

func below(prefix string, packages ...string) []string {
	var full []string
	for _, p := range packages {
		full = append(full, prefix+p)
	}
	return full
}
