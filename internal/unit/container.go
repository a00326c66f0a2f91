package unit

import _ "embed"

// containerSpec is what containers begin from, before what their pods say.
const containerSpec = "/etc/containerd/container.json"

// containerJSON is as containerd itself would begin, but for the capability NET_RAW, by which a pod forges the packets of its
// neighbours: the runtime gives it to all that say nothing, and the standards only speak of those that a pod adds.
//
//go:embed container.json
var containerJSON string

func containerFile() File { return File{Path: containerSpec, Mode: 0o600, Content: containerJSON} }
