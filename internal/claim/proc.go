package claim

// procClaims are about what pods can do to the machine.
var procClaims = []Claim{procPrivileged}
