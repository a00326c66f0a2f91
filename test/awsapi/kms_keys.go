package awsapi

import (
	"fmt"
	"net/http"
)

// Managed is a key of KMS that somebody made.
type Managed struct {
	Rotates bool
	State   string // Enabled or PendingDeletion
}

// manage makes, names and removes keys, where the Cloud has Aliases: without them its one key answers to any name.
func (c *Cloud) manage(w http.ResponseWriter, action string, in kmsRequest) (done bool, p *problem) {
	if c.Aliases == nil {
		return false, nil
	}
	arn := func(id string) string { return "arn:aws:kms:" + c.Region + ":" + c.Account + ":key/" + id }
	missing := func(name string) *problem {
		return invalid("NotFoundException", "%s is not found", name)
	}
	id := in.KeyID
	if target, named := c.Aliases[id]; named {
		id = target
	}
	key := c.ManagedKeys[id]
	switch action {
	case "CreateKey":
		if c.ManagedKeys == nil {
			c.ManagedKeys = map[string]*Managed{}
		}
		id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(c.ManagedKeys)+1)
		key = &Managed{State: "Enabled"}
		c.ManagedKeys[id] = key
		fallthrough
	case "DescribeKey":
		if key == nil {
			return true, missing(in.KeyID)
		}
		writeJSON(w, http.StatusOK, map[string]any{"KeyMetadata": map[string]any{"KeyId": id, "Arn": arn(id), "Enabled": key.State == "Enabled", "KeyState": key.State}})
		return true, nil
	case "EnableKeyRotation":
		if key == nil {
			return true, missing(in.KeyID)
		}
		key.Rotates = true
	case "ScheduleKeyDeletion":
		if key == nil {
			return true, missing(in.KeyID)
		}
		key.State = "PendingDeletion"
	case "CreateAlias":
		if _, taken := c.Aliases[in.AliasName]; taken {
			return true, invalid("AlreadyExistsException", "%s", in.AliasName)
		}
		c.Aliases[in.AliasName] = in.TargetKeyID
	case "DeleteAlias":
		if _, there := c.Aliases[in.AliasName]; !there {
			return true, missing(in.AliasName)
		}
		delete(c.Aliases, in.AliasName)
	default:
		return false, nil
	}
	writeJSON(w, http.StatusOK, map[string]any{})
	return true, nil
}
