package unit

import "ashlar.dev/ashlar/api/v1alpha1"

// Label is what SELinux is to know a path by. There is no policy of ours: the types are the distribution's.
type Label struct {
	Path string
	// Types are what the policies of distributions call the same thing; the first that the machine's knows is taken.
	Types []string
	// Tree: so is all that is below it, but for what has a label of its own. Otherwise what is made there later inherits it.
	Tree bool
	// Make: the directory is made if it is not there, before whoever uses it can give it another type.
	Make bool
}

// Of the names below, those that begin with container_ and are in both Fedora's and Debian's policies mean the same in both. Where
// there are two, Fedora's is first.
var (
	// ofAgent is what no container may read, whoever its users are and whatever is mounted in it; Debian lets a runtime read only the first.
	ofAgent  = []string{"container_engine_cache_t", "var_lib_t"}
	logs     = []string{"container_engine_cache_t", "var_log_t"} // containerd appends to one of them
	engine   = []string{"container_runtime_exec_t", "dockerd_exec_t"}
	starter  = []string{"container_runtime_exec_t", "container_engine_exec_t"}
	ofEngine = []string{"container_var_run_t", "container_runtime_t"}
)

// Labels are those of the machine that d is for. Other than these, our files are where a distribution's policy expects them.
func Labels(d Desired) []Label {
	labels := []Label{
		{Path: Bin, Types: []string{"bin_t"}, Tree: true},
		{Path: "/etc/ashlar", Types: ofAgent, Tree: true, Make: true},
		{Path: "/run/ashlar", Types: ofAgent, Tree: true, Make: true},
		{Path: "/var/lib/ashlar", Types: ofAgent, Tree: true, Make: true},
		{Path: "/var/log/ashlar", Types: logs, Tree: true, Make: true},
		{Path: "/etc/hosts", Types: []string{"net_conf_t"}},
	}
	if d.Me().Role != v1alpha1.RoleWorker {
		return labels
	}
	return append(labels,
		Label{Path: Bin + "/containerd", Types: engine},
		Label{Path: Bin + "/containerd-shim-runc-v2", Types: engine},
		Label{Path: Bin + "/runc", Types: starter},
		Label{Path: cniBin, Types: []string{"container_plugin_t", "bin_t"}, Tree: true},
		Label{Path: "/run/cni", Types: []string{"container_config_t"}, Tree: true, Make: true},
		Label{Path: "/etc/containerd", Types: []string{"container_config_t"}, Tree: true, Make: true},
		Label{Path: "/run/containerd", Types: ofEngine, Make: true},
		Label{Path: "/var/lib/containerd", Types: []string{"container_var_lib_t"}, Make: true},
		Label{Path: "/var/lib/kubelet", Types: []string{"container_var_lib_t"}, Make: true},
		// What is below has its pod's pair of categories.
		Label{Path: "/var/lib/kubelet/pods", Types: []string{"container_file_t"}, Make: true},
		Label{Path: "/var/log/pods", Types: []string{"container_log_t"}, Make: true},
	)
}
