package claim

// procClaims are about what pods can do to their machine.
var procClaims = []Claim{procSeccomp, procSELinux, procPrivileged}
