package unit

import "encoding/json"

// IsolationFile is what is declared of pods' classes and namespaces' tiers, for the baseline controller.
const IsolationFile = "/etc/kubernetes/isolation.json"

func isolationFile(d Desired) File {
	b, err := json.MarshalIndent(d.Isolation, "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return File{Path: IsolationFile, Mode: 0o600, Content: string(b) + "\n", Live: true}
}
