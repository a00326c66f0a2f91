package aws

import (
	"fmt"
	"regexp"
	"strings"
)

// Locked is a state that somebody else works on, or was working on when they were lost.
type Locked struct {
	ID, Who, Operation, Since string
}

func (l Locked) Error() string {
	return fmt.Sprintf("the state is locked by %s, since %s (%s): wait until they are done. If nobody is at work any more, as after a "+
		"machine was lost in the middle of it, take the lock off: ashlar up --unlock %s", l.Who, l.Since, l.Operation, l.ID)
}

var lockField = regexp.MustCompile(`(?m)^[│ ]*(ID|Operation|Who|Created): +(.*?)\s*$`)

// readLock finds in a message of OpenTofu's who holds the lock.
func readLock(text string) (Locked, bool) {
	_, info, found := strings.Cut(text, "Error acquiring the state lock")
	if !found {
		return Locked{}, false
	}
	fields := map[string]string{}
	for _, f := range lockField.FindAllStringSubmatch(info, -1) {
		fields[f[1]] = f[2]
	}
	return Locked{ID: fields["ID"], Who: fields["Who"], Operation: fields["Operation"], Since: fields["Created"]}, fields["ID"] != ""
}
