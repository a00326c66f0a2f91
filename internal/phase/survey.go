package phase

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/observe"
)

// kept is what was measured of the network the last time.
type kept struct {
	Time  time.Time          `json:"time"`
	Found map[string]outcome `json:"found"`
}

type outcome struct {
	Observed network.Reach `json:"observed"`
	Answer   string        `json:"answer"`
}

func (c *Cluster) surveyFile() string { return filepath.Join(c.Dir, "network.json") }

// KeepSurvey writes down what was measured.
func KeepSurvey(c *Cluster, s *observe.Survey, now time.Time) error {
	s.Observed = now
	k := kept{now, map[string]outcome{}}
	for i := range s.Connections {
		k.Found[s.Connections[i].Key()] = outcome{s.Found[i].Observed, s.Found[i].Answer}
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return writeOperatorFile(c.surveyFile(), b)
}

// RecallSurvey fills in what was measured the last time, if ever, of the connections that are still the same.
func RecallSurvey(c *Cluster, s *observe.Survey) error {
	b, err := os.ReadFile(c.surveyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return fmt.Errorf("read what was measured last: %w; `ashlar network test` measures it anew", err)
	}
	s.Observed = k.Time
	for i := range s.Connections {
		if o, ok := k.Found[s.Connections[i].Key()]; ok {
			s.Found[i].Observed, s.Found[i].Answer = o.Observed, o.Answer
		}
	}
	return nil
}
