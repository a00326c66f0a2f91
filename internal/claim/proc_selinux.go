package claim

// Read is the outcome of reading one file in a pod.
type Read struct {
	Path    string `json:"path"`
	Words   string `json:"words,omitempty"`   // its first
	Refusal string `json:"refusal,omitempty"` // empty: it was read
}
