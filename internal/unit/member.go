package unit

import "strings"

// Members of groups come and go, and have no names in the file. What AWS gives to one instance and to no other is its name.

const memberDomain = ".compute.internal"

// MemberName is what a member of a group is called, as a machine and as a node.
func MemberName(instance, region string) string { return instance + "." + region + memberDomain }

// IsMember says whether a machine is called so.
func IsMember(name string) bool {
	return strings.HasPrefix(name, "i-") && strings.HasSuffix(name, memberDomain)
}

// PoolPrincipal is whom members of a group take to be for them, in certificates for SSH: their own names Vault cannot know before.
// It is no machine's name.
func PoolPrincipal(pool string) string { return "pool:" + pool }

// MemberInstance is the instance of a member.
func MemberInstance(name string) string {
	id, _, _ := strings.Cut(name, ".")
	return id
}
